"""Kept-alive HTTP/1.1 connections to one server, each with one request in flight at most.

An answer that is cancelled or fails closes its connection: no later call can meet one that is not its own.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import httptools

from shared.errors import Unavailable
from shared.tensors import Raw

HEADER_LENGTH: Final = b"inference-header-content-length"


class Response(NamedTuple):
    """What came back: status, the text of Inference-Header-Content-Length, body."""

    status: int
    header_length: str | None
    body: bytes


class Connection(asyncio.Protocol):
    """One connection; its parser calls the on_ methods."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Response] | None = None
        self._keep_alive = True
        self.on_message_begin()

    @property
    def is_free(self) -> bool:
        """Whether another request may be sent."""
        open_ = self._transport is not None and not self._transport.is_closing()
        return open_ and self._waiter is None and self._keep_alive

    def send(self, parts: Sequence[Raw]) -> "asyncio.Future[Response]":
        """Send a request; what comes back is its answer, or Unavailable."""
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_free:
            answer.set_exception(Unavailable("the connection to Triton is closed"))
        else:
            self._waiter = answer
            self._transport.writelines(parts)
        return answer

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("Triton closed the connection")

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("Triton's answer is not HTTP")

    def on_message_begin(self) -> None:
        self._header_length: str | None = None
        self._chunks: list[bytes] = []
        self._size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == HEADER_LENGTH:
            self._header_length = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._max_body:
            self._fail(f"Triton's answer is larger than {self._max_body} bytes")
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        response = Response(self._parser.get_status_code(), self._header_length, b"".join(self._chunks))
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self.abort()
        else:
            waiter.set_result(response)

    def _fail(self, message: str) -> None:
        self.abort()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(Unavailable(message))


class Pool:
    """At most `limit` connections; the one used last is used next."""

    def __init__(self, host: str, port: int, limit: int, max_body: int) -> None:
        self._address = (host, port)
        self._max_body = max_body
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self._slots = asyncio.Semaphore(limit)
        self._closed = False

    async def send(self, parts: Sequence[Raw]) -> "asyncio.Future[Response]":
        """Send a request on a free connection, which its answer takes until it is there or cancelled.

        Raises Unavailable when the server cannot be reached; so does the answer where it breaks off.
        """
        await self._slots.acquire()
        try:
            connection = await self._take()
        except BaseException:
            self._slots.release()
            raise
        answer = connection.send(parts)
        answer.add_done_callback(lambda _: self._give_back(connection))
        return answer

    def close(self) -> None:
        """Calls in flight fail, those too that are still connecting."""
        self._closed = True
        for connection in self._open:
            connection.abort()

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if connection.is_free:
                return connection
            self._open.discard(connection)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._max_body), *self._address
            )
        except OSError as error:
            raise Unavailable("Triton is not reachable") from error
        self._open.add(connection)
        if self._closed:
            connection.abort()
        return connection

    def _give_back(self, connection: Connection) -> None:
        self._slots.release()
        if connection.is_free:
            self._free.append(connection)
        else:
            connection.abort()
            self._open.discard(connection)
