"""Events, and the logs of tasks, over WebSocket: the same items, rights and limits as their server-sent events."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.gateway.access import Gatekeeper, authorise
from services.gateway.caller import Caller
from services.gateway.credentials import ANONYMOUS, Principal
from services.gateway.limits.limits import Limits
from services.gateway.problems import problem_response
from services.gateway.routes.declare import LONGEST, PREFIX
from services.gateway.routes.events import EventQuery, followed_events
from services.gateway.routes.logs import Wanted, followed_log
from services.gateway.sse import EventFlow, ServerEvent, Stalled, in_time
from shared.ending import end
from shared.errors import AimassError, InvalidInput, NotFound, Unauthenticated
from shared.names import new_id
from shared.permissions import Permission

LOG = re.compile(rf"{PREFIX}/tasks/([a-z]{{1,32}}-[0-9a-f-]{{36}})/logs/ws")
EVENTS = re.compile(rf"{PREFIX}/events/ws")
PROTOCOL, BEARER = "aimass", "bearer."
LAST_ID = "last_event_id"
ENDED, RESTARTING = 1000, 1012
GONE = (WebSocketDisconnect, Stalled)


class Followed(NamedTuple):
    """What can be followed at a path: `item` is how its messages are called."""

    path: re.Pattern[str]
    permission: Permission
    item: str
    begin: Callable[[Caller, WebSocket, re.Match[str]], Awaitable[EventFlow]]


async def _log(caller: Caller, socket: WebSocket, found: re.Match[str]) -> EventFlow:
    return await followed_log(found[1], caller, _position(socket, "after"), Wanted())


async def _events(caller: Caller, socket: WebSocket, _: re.Match[str]) -> EventFlow:
    given = {name: value for name, value in socket.query_params.items() if name != LAST_ID}
    try:
        query = EventQuery.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{field}: {first['msg']}", field=field) from None
    return await followed_events(caller, query, _position(socket, LAST_ID))


FOLLOWED = (
    Followed(LOG, Permission.TASKS_READ, "line", _log),
    Followed(EVENTS, Permission.EVENTS_READ, "event", _events),
)


class Sockets:
    """Answers every WebSocket that is opened; who may not see what he asks for gets a problem document instead."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper, limits: Limits) -> None:
        self._app, self._gatekeeper, self._limits = app, gatekeeper, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket({**scope, "app": self._app}, receive, send)
        try:
            item, flow = await self._begin(socket)
        except AimassError as error:
            await socket.receive()
            await socket.send_denial_response(problem_response(error, scope["path"]))
            return
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        await _while_open(socket, item, flow)

    async def _begin(self, socket: WebSocket) -> tuple[str, EventFlow]:
        """Raises what the event stream of the same would raise."""
        socket.state.principal = await self._known(socket)
        socket.state.correlation_id = new_id()
        followed, found = _wanted(socket)
        authorise(socket.state.principal, followed.permission)
        caller = Caller(socket)
        flow = await followed.begin(caller, socket, found)
        return followed.item, caller.edges.followers.limited(flow)

    async def _known(self, socket: WebSocket) -> Principal:
        """The caller, once he is counted; a stranger's attempt is counted by its address."""
        socket.state.address = address = self._limits.origins.of(socket.scope)
        try:
            principal = self._gatekeeper.identify(_headers(socket))
        except Unauthenticated:
            await self._count(ANONYMOUS, address)
            raise
        await self._count(principal, address)
        return principal

    async def _count(self, principal: Principal, address: str) -> None:
        if ticket := await self._limits.admit(principal, address):
            self._limits.check(ticket)


def _wanted(socket: WebSocket) -> tuple[Followed, re.Match[str]]:
    for followed in FOLLOWED:
        if found := followed.path.fullmatch(socket.url.path):
            return followed, found
    raise NotFound(f"there is no WebSocket at {socket.url.path}")


def _headers(socket: WebSocket) -> dict[bytes, bytes]:
    """Browsers cannot send the header of a key; they offer it as a protocol, bearer.KEY, beside aimass."""
    given = dict(socket.scope["headers"])
    offered = [name for name in socket.scope["subprotocols"] if name.startswith(BEARER)]
    return {b"authorization": b"Bearer " + offered[0].removeprefix(BEARER).encode()} | given if offered else given


def _position(socket: WebSocket, name: str) -> int:
    text = socket.query_params.get(name, "0")
    if not re.fullmatch(r"\d{1,19}", text) or int(text) > LONGEST:
        raise InvalidInput(f"{name}: a sequence of the stream, from an `id` before", field=name)
    return int(text)


async def _while_open(socket: WebSocket, item: str, flow: EventFlow) -> None:
    """Send what comes until it ends, or the client goes, which nothing but listening to it tells."""
    sending = asyncio.create_task(_send_all(socket, item, flow))
    listening = asyncio.create_task(_listen(socket))
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end([sending, listening])
    if not sending.cancelled() and (error := sending.exception()) and not isinstance(error, GONE):
        raise error


async def _send_all(socket: WebSocket, item: str, flow: EventFlow) -> None:
    last: ServerEvent | None = None
    async with aclosing(flow):
        async for last in flow:
            if last is not None:
                await in_time(socket.send_text(json.dumps(_message(item, last), separators=(",", ":"))))
    await socket.close(ENDED if last and last.event == "end" else RESTARTING)


def _message(item: str, event: ServerEvent) -> dict[str, Any]:
    named = {"event": event.event or item, "data": event.data}
    return named if event.id is None else named | {"id": event.id}


async def _listen(socket: WebSocket) -> None:
    """What clients say is not heard."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue
