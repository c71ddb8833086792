"""Bodies that go from the socket straight into memory that is theirs, without a piece of Python for each part."""

import asyncio
from typing import Final

import httptools
from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.gateway.bodies import part
from shared.errors import TooLarge
from shared.tensors import Raw

WASTE_BYTES: Final = 64 * 1024
SIP_BYTES: Final = 16 * 1024


class StandIn(asyncio.BufferedProtocol):
    """Hears in a connection's place what does not have to do with reading."""

    def __init__(self, connection: HttpToolsProtocol) -> None:
        self._connection = connection

    def eof_received(self) -> None:
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class Sip(StandIn):
    """Reads little of what comes next: where it is as long as what came before, most of it can be poured."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self._read = bytearray(SIP_BYTES)
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.transport.set_protocol(self._connection)
        self._connection.data_received(bytes(memoryview(self._read)[:nbytes]))


class Pouring(StandIn):
    """Stands in for a connection while the rest of a body comes, which has exactly the length of the memory."""

    def __init__(self, connection: HttpToolsProtocol, memory: memoryview) -> None:
        super().__init__(connection)
        self._memory, self._left = memory, len(memory)
        self._is_wanted = True
        connection.transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._memory[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._is_wanted:
            self._memory = self._memory[nbytes:]
        if not self._left:
            self._end()

    def _end(self) -> None:
        """Go on as if the parser had seen it all."""
        connection = self._connection
        connection.parser = httptools.HttpRequestParser(connection)
        connection.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        connection.transport.set_protocol(Sip(connection))
        connection.on_message_complete()

    def discard(self) -> None:
        """Nobody wants what comes yet, but what follows it."""
        if self._left and self._is_wanted:
            self._is_wanted, self._memory = False, memoryview(bytearray(min(self._left, WASTE_BYTES)))


async def read_into(memory: memoryview, receive: Receive) -> int:
    """Read a whole body into memory of the length that its Content-Length says, and return its size.

    Raises ClientGone, or TooLarge.
    """
    start, pouring = _poured(memory, receive)
    size, more = start, True
    try:
        while more:
            message = await receive()
            size = _added(memory, size, part(message))
            more = message.get("more_body", False)
    finally:
        if pouring is not None:
            pouring.discard()
    return len(memory) if pouring else size


def _poured(memory: memoryview, receive: Receive) -> tuple[int, Pouring | None]:
    """How much has come, and what brings the rest; nothing where it comes in messages alone."""
    cycle = getattr(receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not cycle.more_body or cycle.disconnected:
        return 0, None
    connection = getattr(cycle.on_response, "__self__", None)
    if not isinstance(connection, HttpToolsProtocol) or connection.cycle is not cycle or connection.scheme == "https":
        return 0, None
    start, cycle.body = _added(memory, 0, memoryview(cycle.body)), bytearray()
    return start, Pouring(connection, memory[start:])


def _added(memory: memoryview, size: int, body: Raw) -> int:
    end = size + len(body)
    if end > len(memory):
        raise TooLarge(f"the body is longer than the {len(memory)} bytes that its Content-Length says")
    memory[size:end] = body
    return end
