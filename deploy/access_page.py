"""Who may do what, docs/access.md: every route by role, and what it shows of another project's things."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.markdown import table
from services.gateway.control import THEMES
from services.gateway.open_inference.routes import InferenceRoutes
from services.gateway.routes.declare import PERMISSION, PLATFORM, PUBLIC
from services.gateway.sockets import FOLLOWED
from shared.permissions import GRANTS, Permission, Role

INTRODUCTION = """# Who may do what

Every route by the fixed roles; written by `./justw docs` from the routes themselves, and held by
`tests/integration/test_access_matrix.py`, which asks each of them in each role for things of the own project and of
another one. The project comes from the key or the token, never from what is sent.

The last column says what there is for people of other projects:

- **404**: a thing of another project is answered like one that does not exist.
- **own**: lists and orders know the things of the own project alone.
- **platform**: not a project's but the platform's: 403 for all who are not of the project `default`.
- **all**: the same for everybody, such as the model library.
"""
ALL = frozenset({"GET /api/v1/library", "GET /api/v1/library/{name}", "GET /api/v1/permissions", "GET /v2"})
LET_IN = ("/login", "/login/refresh", "/token", "/invitations/accept")
MAKES = frozenset(
    {
        "PUT /api/v1/schedules/{name}",
        "POST /api/v1/datasets/{name}",
        "POST /api/v1/indexes/{name}",
        "POST /api/v1/models/{model}/versions",
        "POST /api/v1/models/{model}/imports",
    }
)
Line = tuple[str, Permission | None, str]


def access_page() -> Iterator[str]:
    yield INTRODUCTION
    roles = list(Role)
    rows = (_row(route, permission, others, roles) for route, permission, others in lines())
    yield from table(("route", "permission", *(role.value for role in roles), "others"), rows)


def _row(route: str, permission: Permission | None, others: str, roles: list[Role]) -> list[str]:
    marks = ["yes" if permission is None or permission in GRANTS[role] else "" for role in roles]
    return [f"`{route}`", permission.value if permission else PUBLIC, *marks, others]


def lines() -> Iterator[Line]:
    """Every route, what it needs, and what it shows of other projects."""
    for theme in THEMES:
        for path, _, options in theme.ROUTES.declared:
            documented = options["openapi_extra"]
            needed = documented[PERMISSION]
            permission = None if needed == PUBLIC else Permission(needed)
            route = f"{options['methods'][0]} {path}"
            yield route, permission, "platform" if documented.get(PLATFORM) else others_of(route)
    for followed in FOLLOWED:
        path = followed.path.pattern.replace(r"([a-z]{1,32}-[0-9a-f-]{36})", "{task_id}")
        yield f"WebSocket {path}", followed.permission, others_of(path)
    nobody: Any = None  # who would answer is not asked for
    for method, template, permission, *_ in InferenceRoutes(*[nobody] * 7).routes():
        route = f"{method} {template}"
        yield route, permission, others_of(route) if permission else "all"


def others_of(route: str) -> str:
    """A thing that is named in the path is none of another project, unless it is made by that name."""
    if route in ALL or route.endswith(LET_IN):
        return "all"
    return "404" if re.search(r"\{\w+", route) and route not in MAKES else "own"
