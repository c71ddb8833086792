"""The log of a task over WebSocket: the same lines, rights and limits as its server-sent events."""

import asyncio
import json
import re
from contextlib import aclosing
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.gateway.access import Gatekeeper, authorise
from services.gateway.caller import Caller
from services.gateway.problems import problem_response
from services.gateway.routes.declare import LONGEST
from services.gateway.routes.logs import Wanted, followed_log
from services.gateway.sse import EventFlow, ServerEvent
from shared.errors import AimassError, InvalidInput, NotFound
from shared.names import new_id
from shared.permissions import Permission

PATH = re.compile(r"/api/v1/tasks/([a-z]{1,32}-[0-9a-f-]{36})/logs/ws")
PROTOCOL, BEARER = "aimass", "bearer."
ENDED, RESTARTING = 1000, 1012


class LogSockets:
    """Answers every WebSocket that is opened; who may not see the log gets a problem document instead."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app, self._gatekeeper = app, gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket({**scope, "app": self._app}, receive, send)
        try:
            flow = await self._begin(socket)
        except AimassError as error:
            await socket.receive()
            await socket.send_denial_response(problem_response(error, scope["path"]))
            return
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        await _while_open(socket, flow)

    async def _begin(self, socket: WebSocket) -> EventFlow:
        """Raises what the event stream of the log would raise."""
        socket.state.principal = self._gatekeeper.identify(_headers(socket))
        socket.state.correlation_id = new_id()
        authorise(socket.state.principal, Permission.TASKS_READ)
        found = PATH.fullmatch(socket.url.path)
        if found is None:
            raise NotFound(f"there is no WebSocket at {socket.url.path}")
        caller = Caller(socket)
        events = await followed_log(found[1], caller, _position(socket), Wanted())
        return caller.edges.followers.limited(events)


def _headers(socket: WebSocket) -> dict[bytes, bytes]:
    """Browsers cannot send the header of a key; they offer it as a protocol, bearer.KEY, beside aimass."""
    given = dict(socket.scope["headers"])
    offered = [name for name in socket.scope["subprotocols"] if name.startswith(BEARER)]
    return {b"authorization": b"Bearer " + offered[0].removeprefix(BEARER).encode()} | given if offered else given


def _position(socket: WebSocket) -> int:
    text = socket.query_params.get("after", "0")
    if not re.fullmatch(r"\d{1,19}", text) or int(text) > LONGEST:
        raise InvalidInput("after: a sequence of the log, from an `id` before", field="after")
    return int(text)


async def _while_open(socket: WebSocket, flow: EventFlow) -> None:
    """Send what comes until the log ends, or the client goes, which nothing but listening to it tells."""
    sending = asyncio.create_task(_send_all(socket, flow))
    listening = asyncio.create_task(_listen(socket))
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.wait({sending, listening})
    if not sending.cancelled() and (error := sending.exception()) and not isinstance(error, WebSocketDisconnect):
        raise error


async def _send_all(socket: WebSocket, flow: EventFlow) -> None:
    last: ServerEvent | None = None
    async with aclosing(flow):
        async for last in flow:
            if last is not None:
                await socket.send_text(json.dumps(_message(last), separators=(",", ":")))
    await socket.close(ENDED if last and last.event == "end" else RESTARTING)


def _message(event: ServerEvent) -> dict[str, Any]:
    named = {"event": event.event or "line", "data": event.data}
    return named if event.id is None else named | {"id": event.id}


async def _listen(socket: WebSocket) -> None:
    """What clients say is not heard."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue
