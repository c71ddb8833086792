"""What uvicorn lacks: a response in one write, a body in few pieces, and an end of work when the client goes away."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, cast

from starlette.types import Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shared.tensors import Raw

CANCEL: Final = "aimass.cancel"
LOOP: Final = "aimass.loop"
WHOLE: Final = "aimass.whole"
JOINED_BYTES: Final = 64 * 1024
GATHERED_BYTES: Final = 1024 * 1024


class CorkedTransport:
    """A transport that holds back what is written until the turn of the loop is over."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[Raw] = []

    def write(self, data: Raw) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def write_now(self, parts: list[Raw]) -> None:
        """Write what forms a whole, after what is held."""
        self._held += parts
        self.flush()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        held, self._held = self._held, []
        if not held or self._transport.is_closing():
            return
        if max(map(len, held)) > JOINED_BYTES:
            self._transport.writelines(held)
        else:
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CancelledWhenGone:
    """Ends the work on a request, and nothing around it, when its client goes away before it has the response."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        task = asyncio.current_task(self._scope.get(LOOP))
        assert task is not None
        self._scope[CANCEL] = task.cancel

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> bool:
        return kind is not None and issubclass(kind, asyncio.CancelledError) and CANCEL not in self._scope


class CorkedProtocol(HttpToolsProtocol):
    """HTTP/1.1 over a corked transport."""

    def on_message_begin(self) -> None:
        """Name the loop: to look up the running one is a system call, made for each request."""
        super().on_message_begin()
        cast(Scope, self.scope)[LOOP] = self.loop

    def on_body(self, body: bytes) -> None:
        """Wake nobody for less than a large piece: a body of some pieces would be read in as many turns of the loop."""
        cycle = self.cycle
        if cycle.response_complete or len(cycle.body) + len(body) > GATHERED_BYTES:
            super().on_body(body)
        else:
            cycle.body += body

    def on_message_complete(self) -> None:
        cast(Scope, self.scope)[WHOLE] = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            cast(Scope, self.cycle.scope).pop(CANCEL, _nothing)()
        super().connection_lost(exc)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, CorkedTransport(transport)))


def _nothing() -> None:
    """For a request that nobody works on."""


async def respond(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: Raw) -> None:
    """Send a whole response; to a client of ours that can take it, without the checks of headers that others wrote."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestResponseCycle) and _is_plain(cycle):
        _write(cycle, status, headers, body)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_plain(cycle: RequestResponseCycle) -> bool:
    is_open = cycle.keep_alive and not cycle.disconnected and not cycle.flow.write_paused
    return is_open and not cycle.response_started and cycle.scope["method"] != "HEAD"


def _write(cycle: RequestResponseCycle, status: int, headers: Iterable[tuple[bytes, bytes]], body: Raw) -> None:
    """As RequestResponseCycle.send does with the two messages of a response."""
    cycle.response_started = cycle.response_complete = True
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    head = b"".join((STATUS_LINE[status], *lines, b"\r\n"))
    cast(CorkedTransport, cycle.transport).write_now([head, body])
    cycle.message_event.set()
    cycle.on_response()
