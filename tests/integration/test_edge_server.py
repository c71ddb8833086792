"""The HTTP server of the gateway over a real socket: whole responses, bodies in pieces, clients of every kind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httptools
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.embedded.ports import free_port
from services.gateway.corked import GATHERED_BYTES, WHOLE, CorkedProtocol, respond
from shared.ops.server import Server

SECONDS = 60


async def lengths(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the sizes of the pieces in which the body came."""
    sizes, more = [], True
    while more:
        message = await receive()
        sizes.append(len(message.get("body", b"")))
        more = message.get("more_body", False)
    body = f"{sizes} {WHOLE in scope}".encode()
    await respond(send, 200, [(b"content-type", b"text/plain")], body)


@asynccontextmanager
async def served(app: ASGIApp, http: type[CorkedProtocol]) -> AsyncIterator[int]:
    """The port where an app answers until the block ends."""
    found = free_port()
    config = uvicorn.Config(app, port=found, http=http, ws="none", lifespan="off", log_level="warning")
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(SECONDS):
        while not server.started:
            await asyncio.sleep(0.01)
    yield found
    server.should_exit = True
    await serving


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with served(lengths, CorkedProtocol) as found:
        yield found


class Client:
    """A connection that says what it is told and reads responses until it has enough."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.writer.close()

    async def say(self, text: str, body: bytes = b"") -> None:
        self.writer.write(text.replace("\n", "\r\n").encode() + body)
        await self.writer.drain()

    async def hear(self, count: int = 1) -> list[bytes]:
        heard: list[bytes] = []
        parser = httptools.HttpResponseParser(_Bodies(heard))
        async with asyncio.timeout(SECONDS):
            while len(heard) < count:
                parser.feed_data(await self.reader.read(65536))
        return heard


class _Bodies:
    def __init__(self, heard: list[bytes]) -> None:
        self._heard, self._body = heard, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._heard.append(self._body)
        self._body = b""


async def test_requests_follow_each_other_on_a_connection(port: int) -> None:
    async with Client(port) as client:
        for _ in range(3):
            await client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\n", b"abc")
            assert await client.hear() == [b"[3] True"]


async def test_requests_sent_at_once_are_answered_in_order(port: int) -> None:
    async with Client(port) as client:
        asked = "".join(f"POST / HTTP/1.1\nHost: a\nContent-Length: {size}\n\n{'x' * size}" for size in (1, 2, 3))
        await client.say(asked)
        assert [body[:3] for body in await client.hear(3)] == [b"[1]", b"[2]", b"[3]"]


async def test_a_body_in_pieces_wakes_its_reader_once_or_for_large_pieces(port: int) -> None:
    async with Client(port) as client:
        await client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 400000\n\n")
        for _ in range(4):
            await client.say("", bytes(100_000))
            await asyncio.sleep(0.01)
        assert (await client.hear())[0].startswith(b"[400000]")
        size = 5 * GATHERED_BYTES
        await client.say(f"POST / HTTP/1.1\nHost: a\nContent-Length: {size}\n\n", bytes(size))
        sizes = (await client.hear())[0].partition(b"]")[0].lstrip(b"[").split(b", ")
        assert sum(map(int, sizes)) == size
        assert len(sizes) <= 10


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.0\n\n", "GET / HTTP/1.1\nHost: a\nConnection: close\n\n"])
async def test_who_asks_for_the_end_gets_it(port: int, request_line: str) -> None:
    async with Client(port) as client:
        await client.say(request_line)
        async with asyncio.timeout(SECONDS):
            answer = await client.reader.read()
        assert b"connection: close\r\n" in answer and answer.endswith(b"[0] True")


async def test_a_head_has_no_body(port: int) -> None:
    async with Client(port) as client:
        await client.say("HEAD / HTTP/1.1\nHost: a\n\n")
        async with asyncio.timeout(SECONDS):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 8\r\n" in head
        await client.say("POST / HTTP/1.1\nHost: a\nContent-Length: 1\n\n", b"a")
        assert await client.hear() == [b"[1] True"]
