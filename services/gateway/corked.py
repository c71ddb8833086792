"""What uvicorn lacks: a response that leaves in one write, and a request that ends when its client goes away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.tensors import Raw

CANCEL = "aimass.cancel"
LOOP = "aimass.loop"
JOINED_BYTES = 64 * 1024


class CorkedTransport:
    """A transport that holds back what is written until the turn of the loop is over."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[Raw] = []

    def write(self, data: Raw) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if not held or self._transport.is_closing():
            return
        if max(map(len, held)) > JOINED_BYTES:
            self._transport.writelines(held)
        else:
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@contextmanager
def cancelled_when_gone(scope: Scope) -> Iterator[None]:
    """End the work on a request, and nothing around it, when its client goes away before it has the response."""
    task = asyncio.current_task(scope.get(LOOP))
    assert task is not None
    scope[CANCEL] = task.cancel
    try:
        yield
    except asyncio.CancelledError:
        if CANCEL in scope:
            raise


class CorkedProtocol(HttpToolsProtocol):
    """HTTP/1.1 over a corked transport."""

    def on_message_begin(self) -> None:
        """Name the loop: to look up the running one is a system call, made for each request."""
        super().on_message_begin()
        cast(Scope, self.scope)[LOOP] = self.loop

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            cast(Scope, self.cycle.scope).pop(CANCEL, _nothing)()
        super().connection_lost(exc)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, CorkedTransport(transport)))


def _nothing() -> None:
    """For a request that nobody works on."""
