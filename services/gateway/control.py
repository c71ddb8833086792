"""The control API: FastAPI behind an edge that identifies, limits, traces and measures every request."""

import asyncio
import time
from typing import Any

from fastapi import FastAPI
from opentelemetry.trace import Span, SpanKind
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import docs, documented, headers, metrics, operations, problems
from services.gateway.access import Gatekeeper
from services.gateway.bodies import read_body, replayed
from services.gateway.caller import Edges
from services.gateway.credentials import ANONYMOUS, Principal
from services.gateway.limits.limits import Limits
from services.gateway.metering import API, Meter
from services.gateway.mlflow import artifacts, tracking
from services.gateway.mlflow import models as mlflow_models
from services.gateway.routes import (
    accounts,
    audio,
    audit,
    batches,
    comparison,
    curves,
    datasets,
    dead_letters,
    deployments,
    events,
    extensions,
    factors,
    grants,
    groups,
    indexes,
    inferences,
    insight,
    invitations,
    keys,
    logs,
    models,
    oidc,
    openai,
    operators,
    optimisations,
    permissions,
    pipelines,
    predict,
    projects,
    roles,
    schedules,
    sessions,
    tasks,
    trainings,
    uploads,
    usage,
    users,
    webhooks,
)
from services.gateway.routes.declare import guarded_routes
from services.gateway.sockets import Sockets
from shared import observe
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, Unauthenticated
from shared.names import new_id

PUBLIC_POSTS = {sessions.LOGIN, sessions.REFRESH, accounts.TOKEN, invitations.ACCEPT}
PUBLIC_PATHS = docs.PATHS | {docs.OPENAPI, docs.ASYNCAPI, users.JWKS, *PUBLIC_POSTS}
BODY_LIMIT = 1024 * 1024
BODY_SECONDS = 30.0
THEMES = (
    *(
        comparison,
        tasks,
        trainings,
        logs,
        curves,
        schedules,
        pipelines,
        predict,
        openai,
        audio,
        datasets,
        batches,
        indexes,
        models,
    ),
    *(optimisations, tracking, mlflow_models, artifacts, uploads, inferences, webhooks),
    *(insight, deployments, events, dead_letters, audit, usage, keys, users, projects),
    *(sessions, invitations, factors, accounts, oidc, permissions, roles, groups, grants, extensions, operators),
)


def control_app(edges: Edges, show_docs: bool = True) -> FastAPI:
    """All routes of the control API, with its documentation unless that is off; its spans are made by the edge."""
    app = FastAPI(
        title="AI Mass",
        version="1",
        docs_url=None,
        openapi_url=docs.OPENAPI if show_docs else None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.router.route_class = guarded_routes()
    app.state.edges = edges
    problems.install(app)
    if show_docs:
        docs.install(app)
    documented.install(app)
    users.install_jwks(app)
    for theme in THEMES:
        theme.ROUTES.install(app)
    return app


class Sender:
    """Sends a response, notes its status and adds the headers that every answer has, unless it brings its own."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self._headers = [(b"x-correlation-id", correlation_id.encode()), *headers.EVERYWHERE]
        self.status = self.size = 0

    def add(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers += headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *headers.missing(message["headers"], self._headers)]}
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)


class ControlEdge:
    """What happens around every request of the control API; who has no key sees public paths only."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper, limits: Limits, meter: Meter) -> None:
        self._app = app
        self._gatekeeper, self._limits, self._meter = gatekeeper, limits, meter
        self._sockets = Sockets(app, gatekeeper, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        given: dict[bytes, bytes] = dict(scope["headers"])
        correlation_id = new_id()
        sender = Sender(send, correlation_id)
        scope["state"] = scope.get("state", {}) | {"correlation_id": correlation_id}
        parent = given.get(b"traceparent", b"").decode("latin-1")
        with observe.span(scope["method"], SpanKind.SERVER, parent, **{"http.request.method": scope["method"]}) as span:
            await self._answer(scope, receive, sender, given)
            route = _route_of(scope)
            _describe(span, scope["method"], route, sender.status)
        seconds = time.perf_counter() - started
        metrics.HTTP_SECONDS.observe((route, scope["method"], sender.status), seconds)
        caller, taken = scope["state"].get("principal", ANONYMOUS), int(given.get(b"content-length", b"0"))
        self._meter.count(caller, "", API, sender.status, seconds, taken, sender.size)

    def _principal(self, path: str, headers: dict[bytes, bytes]) -> Principal:
        if path in PUBLIC_PATHS or path.startswith(oidc.UNDER):
            return ANONYMOUS
        return self._gatekeeper.identify(
            operations.with_bearer(headers) if path.startswith(operations.ROOT) else headers
        )

    async def _admitted(self, scope: Scope, headers: dict[bytes, bytes], sender: Sender) -> Principal:
        """The caller, once his request is counted; that of a stranger is counted by its address."""
        scope["state"]["address"] = address = self._limits.origins.of(scope)
        try:
            principal = self._principal(scope["path"], headers)
        except Unauthenticated:
            await self._count(ANONYMOUS, address, sender)
            raise
        await self._count(principal, address, sender)
        return principal

    async def _count(self, principal: Principal, address: str, sender: Sender) -> None:
        ticket = await self._limits.admit(principal, address)
        if ticket is not None:
            sender.add(self._limits.headers(ticket))
            self._limits.check(ticket)

    async def _answer(self, scope: Scope, receive: Receive, sender: Sender, headers: dict[bytes, bytes]) -> None:
        try:
            scope["state"]["principal"] = await self._admitted(scope, headers, sender)
            _check_path(scope)
            if not (uploads.is_streamed(scope) or artifacts.is_streamed(scope)):
                receive = replayed(await _read_in_time(receive, headers, _limit(scope, headers)), receive)
            await self._app(scope, receive, sender)
        except AimassError as error:
            await _problem(error, scope["path"])(scope, receive, sender)
        except Exception as error:
            observe.log().error("request failed", route=_route_of(scope), exc_info=error)
            if not sender.status:
                raise


def _check_path(scope: Scope) -> None:
    """An encoded slash would make another path of a name."""
    if b"%2f" in scope.get("raw_path", b"").lower():
        raise InvalidInput("a name in the path holds no slash, not even an encoded one", field="path")


def _problem(error: AimassError, path: str) -> Response:
    response = problems.problem_response(error, path)
    if isinstance(error, Unauthenticated) and path.startswith(operations.ROOT):
        response.headers["WWW-Authenticate"] = operations.CHALLENGE
    return response


def _limit(scope: Scope, headers: dict[bytes, bytes]) -> int:
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return audio.body_limit(scope, predict.body_limit(scope, content_type, BODY_LIMIT))


async def _read_in_time(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await read_body(receive, headers, limit)
    except TimeoutError:
        raise DeadlineExceeded(f"the body did not arrive within {BODY_SECONDS:g} s") from None


def _route_of(scope: Scope) -> str:
    """The route's template, so that metrics and spans have few names."""
    route: Any = scope.get("route")
    return getattr(route, "path", "") or (scope["path"] if scope["path"] in PUBLIC_PATHS else "unknown")


def _describe(span: Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
