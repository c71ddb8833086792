"""The Open Inference Protocol v2 over HTTP as plain ASGI: no framework on the path of a prediction.

Finds the route with or without a last slash and never redirects, lets the caller in, sends the answer.
"""

import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import uuid_utils
from starlette.types import Receive, Scope, Send

from services.gateway import metrics
from services.gateway.access import Gatekeeper, authorise
from services.gateway.corked import WHOLE, CancelledWhenGone, respond
from services.gateway.credentials import ANONYMOUS, Principal
from services.gateway.limits.limits import Limits, Ticket
from services.gateway.metering import INFER, Meter
from services.gateway.problems import MethodNotAllowed
from shared import observe
from shared.errors import AimassError, InvalidInput, NotFound, Unauthenticated, Withdrawn
from shared.names import is_slug, uuid_text
from shared.permissions import Permission
from shared.sharing import Level
from shared.tensors import Raw

ROOT = "/v2"
MODELS = "/v2/models/"
STATISTICS = "/v2/models/stats"
JSON = b"application/json"
LONGEST_KNOWN = 200
Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A response, ready to be sent."""

    status: int
    body: Raw
    headers: Headers


NOT_TAKEN = Answer(Withdrawn.status, b"", [])


@dataclass(slots=True)
class Call:
    """A request: its route's template, the names in its path, and its caller once he is known.

    `project` is the model's, which for a shared one is not the caller's; `shared_as` is how he names that one.
    `address` is where it comes from, empty for one from inside that was counted when it came in.
    `is_identified` says that the principal was found before.
    `operation` is how a span names one that came otherwise than over HTTP; `is_whole` says that all of it is here.
    """

    receive: Receive
    headers: dict[bytes, bytes]
    template: str
    model: str = ""
    version: str = ""
    operation: str = ""
    is_whole: bool = False
    principal: Principal = ANONYMOUS
    project: str = ""
    prediction_id: bytes = b""
    traceparent: str = ""
    address: str = ""
    ticket: Ticket | None = None
    input_bytes: int = 0
    is_identified: bool = False
    shared_as: str = ""

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


class ProtocolRoute(NamedTuple):
    """A route and what it needs; one without a permission is public."""

    method: str
    template: str
    permission: Permission | None
    handler: Callable[[Call], Awaitable[Answer]]
    predicts: bool = False


def json_answer(document: dict[str, Any], status: int = 200, headers: Headers | None = None) -> Answer:
    body = json.dumps(document, separators=(",", ":")).encode()
    return Answer(status, body, [(b"content-type", JSON), *(headers or [])])


def error_answer(error: AimassError) -> Answer:
    """A flat error, as clients of the protocol expect it; what is not valid is 400 here."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    status = 400 if isinstance(error, InvalidInput) else error.status
    return json_answer({"error": error.message}, status, headers)


def failed(error: Exception, call: Call) -> Answer:
    """What is told of an error; of one that is not ours the log tells."""
    if isinstance(error, AimassError):
        return error_answer(error)
    observe.log().error("request failed", route=call.template, exc_info=error)
    return error_answer(AimassError("something went wrong here; the log of the gateway says more"))


class InferenceProtocol:
    """The ASGI app of everything under /v2."""

    def __init__(self, routes: list[ProtocolRoute], gatekeeper: Gatekeeper, limits: Limits, meter: Meter) -> None:
        self.routes = {(route.method, route.template): route for route in routes}
        self._templates = {route.template for route in routes}
        self._gatekeeper, self.limits, self._meter = gatekeeper, limits, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        method = scope["method"]
        call = Call(receive, dict(scope["headers"]), *split(scope["path"]), is_whole=WHOLE in scope)
        call.address = self.limits.origins.of(scope)
        name = call.template if call.template in self._templates else "unknown"
        answer = NOT_TAKEN
        with CancelledWhenGone(scope):
            answer = await self.answer(method, call)
            await respond(send, answer.status, answer.headers, answer.body)
        metrics.HTTP_SECONDS.observe((name, method, answer.status), time.perf_counter() - started)

    def answer(self, method: str, call: Call) -> Coroutine[Any, Any, Answer]:
        """What a call gets, whatever it came over."""
        route = self.routes.get((method, call.template))
        if route is not None and route.predicts:
            return self._predict(route, call)
        return self._answer(route, call, method)

    async def _predict(self, route: ProtocolRoute, call: Call) -> Answer:
        """Every answer carries the prediction's id, a refusal too."""
        started = time.perf_counter()
        call.prediction_id = uuid_utils.uuid7().bytes
        call.traceparent, is_recorded = observe.begun(call.header(b"traceparent"), call.prediction_id)
        if is_recorded:
            answer = await self.recorded(route, call)
        else:
            answer = await self._answer(route, call, route.method)
        self._finish(call, answer, started)
        return answer

    def finish(self, call: Call, answer: Answer, started: float) -> None:
        """What every answer to a prediction gets, and is counted as."""
        if call.ticket is not None:
            answer.headers.extend(self.limits.headers(call.ticket))
        self._finish(call, answer, started)

    def _finish(self, call: Call, answer: Answer, started: float) -> None:
        answer.headers.append((b"x-prediction-id", uuid_text(call.prediction_id).encode()))
        seconds, sizes = time.perf_counter() - started, (call.input_bytes, len(answer.body))
        self._meter.count(call.principal, call.shared_as or call.model, INFER, answer.status, seconds, *sizes)

    async def recorded(self, route: ProtocolRoute, call: Call) -> Answer:
        """Its answer, in a span of its trace."""
        with observe.recorded_span(call.operation or f"POST {route.template}", call.traceparent) as span:
            call.traceparent = observe.current_traceparent()
            answer = await self._answer(route, call, route.method)
            span.set_attribute("http.response.status_code", answer.status)
        return answer

    async def _answer(self, route: ProtocolRoute | None, call: Call, method: str) -> Answer:
        try:
            answer = await self._admitted(route, call, method)
        except Exception as error:
            answer = failed(error, call)
        if call.ticket is not None:
            answer.headers.extend(self.limits.headers(call.ticket))
        return answer

    def _admitted(self, route: ProtocolRoute | None, call: Call, method: str) -> Awaitable[Answer]:
        if route is not None and route.permission is None:
            return route.handler(call)
        try:
            if not call.is_identified:
                call.principal = self._gatekeeper.identify(call.headers)
        except Unauthenticated as error:
            return self._not_let_in(call, error)
        if call.address and (ticket := self.limits.enter(call.principal, call.address)) is not None:
            call.ticket = ticket
            if ticket.waits:
                return self.in_turn(ticket, route, call, method)
            self.limits.check(ticket)
        return self._permitted(route, call, method)

    async def _not_let_in(self, call: Call, error: Unauthenticated) -> Answer:
        """Who shows no valid key is a stranger, whose attempts are limited too."""
        if call.address and (ticket := await self.limits.admit(ANONYMOUS, call.address)) is not None:
            call.ticket = ticket
            self.limits.check(ticket)
        raise error

    async def in_turn(self, ticket: Ticket, route: ProtocolRoute | None, call: Call, method: str) -> Answer:
        await self.limits.settle(ticket)
        self.limits.check(ticket)
        return await self._permitted(route, call, method)

    def _permitted(self, route: ProtocolRoute | None, call: Call, method: str) -> Awaitable[Answer]:
        if route is None:
            raise self._unknown(call.template, method)
        self.permit(route, call)
        return route.handler(call)

    def permit(self, route: ProtocolRoute, call: Call) -> None:
        """Raises what stands between a caller who is known and a route; the model's project is known then."""
        assert route.permission is not None
        authorise(call.principal, route.permission, call.model)
        call.project = call.principal.project
        if "." in call.model and all(map(is_slug, call.model.split("."))):
            level: Level = "infer" if route.predicts else "read"
            named = call.model
            call.project, call.model = self._gatekeeper.reach(call.principal, named, level)
            call.shared_as = named if call.project != call.principal.project else ""
        _check_names(call)
        if route.predicts:
            self._meter.admit(call.principal)

    def _unknown(self, template: str, method: str) -> AimassError:
        if template in self._templates:
            return MethodNotAllowed(f"{method} is not known at {template}")
        return NotFound("there is no such route in the Open Inference Protocol as it is served here")


def split(path: str) -> tuple[str, str, str]:
    """A path's template, and the model and the version that it names."""
    return _split(path) if len(path) <= LONGEST_KNOWN else _split.__wrapped__(path)


@lru_cache(maxsize=1024)
def _split(path: str) -> tuple[str, str, str]:
    path = path.removesuffix("/")
    if not path.startswith(MODELS) or path == STATISTICS:
        return path, "", ""
    parts = path.split("/")
    model, parts[3] = parts[3], "{model}"
    version = ""
    if len(parts) > 5 and parts[4] == "versions":
        version, parts[5] = parts[5], "{version}"
    return "/".join(parts), model, version


def _check_names(call: Call) -> None:
    if "{model}" in call.template and not is_slug(call.model):
        raise NotFound(f"there is no model {call.model[:80]!r}: names have 1 to 64 of a-z, 0-9, '_' and '-'")
    if "{version}" in call.template and not (
        call.version.isascii() and call.version.isdigit() and len(call.version) < 10
    ):
        raise NotFound(f"model '{call.model}' has no version {call.version[:80]!r}: versions are whole numbers")
