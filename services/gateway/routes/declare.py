"""How a route is declared: never without the permission that it needs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl

from fastapi import FastAPI, Header, Query, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from services.gateway.access import authorise, authorise_platform
from services.gateway.bodies import read_body, replayed
from shared.errors import InvalidInput
from shared.moments import Moment
from shared.permissions import Permission

PREFIX = "/api/v1"
PERMISSION = "x-permission"
PUBLIC = "public"
MODEL_IN_BODY = "x-model-in-body"
NAMES_MODEL: Mapping[str, Any] = MappingProxyType({MODEL_IN_BODY: True})
PLATFORM = "x-platform"
BEARER = Security(
    HTTPBearer(auto_error=False, description="an API key, aim_..., or an access token from /api/v1/login")
)
LONGEST = 2**63 - 2
Position = Annotated[int, Query(ge=0, le=LONGEST, description="a sequence of the stream; what follows it comes")]
AsOfQuery = Annotated[Moment | None, Query(description="what was at this time, such as 2030-01-31T12:00:00Z")]
LastEventId = Annotated[int, Header(ge=0, le=LONGEST)]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class GuardedRoute(APIRoute):
    """A route that lets nobody in who lacks its permission, or says that it is public; no other can be made.

    A path that is declared as it is belongs to no template beside it, whatever is asked of it; `named` are those.
    """

    named: ClassVar[set[str]]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        documented = options.get("openapi_extra") or {}
        declared = documented.get(PERMISSION)
        if declared is None:
            raise TypeError(f"the route {path} declares no permission")
        self.permission = None if declared == PUBLIC else Permission(declared)
        self.asks_in_body = bool(documented.get(MODEL_IN_BODY))
        self.is_platform = bool(documented.get(PLATFORM))
        super().__init__(path, endpoint, **options)
        if "{" not in path:
            self.named.add(path)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if "{" in self.path and scope["path"] in self.named:
            return Match.NONE, {}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.permission is not None:
            named = scope["path_params"]
            model = named.get("model", "")
            if self.asks_in_body and self.permission not in scope["state"]["principal"].permissions:
                model, receive = await model_in_body(receive)
            authorise(scope["state"]["principal"], self.permission, model, named.get("alias", ""))
        if self.is_platform:
            authorise_platform(scope["state"]["principal"])
        refuse_nul(scope)
        await super().handle(scope, receive, send)


def guarded_routes() -> type[GuardedRoute]:
    """The routes of one application, which know each other's paths and no other application's."""

    class Guarded(GuardedRoute):
        named: ClassVar[set[str]] = set()

    return Guarded


def refuse_nul(scope: Scope) -> None:
    """Raises InvalidInput with the parameter's name; PostgreSQL keeps no such text, so nothing can be it."""
    asked = parse_qsl(scope["query_string"].decode("latin-1")) if b"%00" in scope["query_string"] else []
    for name, value in (*asked, *scope["path_params"].items()):
        if "\x00" in str(value):
            raise InvalidInput(f"{name} holds a NUL character: leave it out", field=name)


async def model_in_body(receive: Receive) -> tuple[str, Receive]:
    """The model that a JSON body names, for grants that have conditions; the body can be read again."""
    body = await read_body(receive, {}, LONGEST)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else "", replayed(body, receive)


@dataclass
class Routes:
    """The routes of one theme, under one tag of the documentation."""

    tag: str
    prefix: str = PREFIX
    declared: list[tuple[str, Callable[..., Any], dict[str, Any]]] = field(default_factory=list)

    def add(
        self,
        method: str,
        path: str,
        permission: Permission | None,
        extra: Mapping[str, Any] = MappingProxyType({}),
        *,
        platform: bool = False,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare a route, public without a permission; `extra` goes into its documentation.

        One of the whole `platform` is for people of the default project alone; all others see their project's things.
        """

        def declare(endpoint: Endpoint) -> Endpoint:
            documented = {PERMISSION: permission.value if permission else PUBLIC, **extra}
            if platform:
                documented[PLATFORM] = True
            guard = {"openapi_extra": documented, "dependencies": [BEARER] if permission else []}
            given = {"methods": [method], "tags": [self.tag]} | guard | options
            self.declared.append((self.prefix + path, endpoint, given))
            return endpoint

        return declare

    def install(self, app: FastAPI) -> None:
        for path, endpoint, options in self.declared:
            app.add_api_route(path, endpoint, **options)
