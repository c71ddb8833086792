"""How a route is declared: never without the permission that it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Header, Query, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.types import Receive, Scope, Send

from services.gateway.access import authorise
from services.gateway.credentials import Principal
from shared.moments import Moment
from shared.permissions import Permission

PREFIX = "/api/v1"
PERMISSION = "x-permission"
PUBLIC = "public"
BEARER = Security(
    HTTPBearer(auto_error=False, description="an API key, aim_..., or an access token from /api/v1/login")
)
LONGEST = 2**63 - 2
Position = Annotated[int, Query(ge=0, le=LONGEST, description="a sequence of the stream; what follows it comes")]
AsOfQuery = Annotated[Moment | None, Query(description="what was at this time, such as 2030-01-31T12:00:00Z")]
LastEventId = Annotated[int, Header(ge=0, le=LONGEST)]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class GuardedRoute(APIRoute):
    """A route that lets nobody in who lacks its permission, or says that it is public; no other can be made."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        declared = (options.get("openapi_extra") or {}).get(PERMISSION)
        if declared is None:
            raise TypeError(f"the route {path} declares no permission")
        self.permission = None if declared == PUBLIC else Permission(declared)
        super().__init__(path, endpoint, **options)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.permission is not None:
            principal: Principal = scope["state"]["principal"]
            authorise(principal, self.permission)
            if principal.rules is not None and (model := scope["path_params"].get("model")):
                principal.rules.check_model(model)
        await super().handle(scope, receive, send)


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
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare a route, public without a permission; `extra` goes into its documentation."""

        def declare(endpoint: Endpoint) -> Endpoint:
            documented = {PERMISSION: permission.value if permission else PUBLIC, **extra}
            guard = {"openapi_extra": documented, "dependencies": [BEARER] if permission else []}
            given = {"methods": [method], "tags": [self.tag]} | guard | options
            self.declared.append((self.prefix + path, endpoint, given))
            return endpoint

        return declare

    def install(self, app: FastAPI) -> None:
        for path, endpoint, options in self.declared:
            app.add_api_route(path, endpoint, **options)
