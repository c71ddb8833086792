"""Bodies that are poured from the socket into memory, on real connections: whole, cut off, unwanted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from services.gateway.bodies import ClientGone
from services.gateway.corked import CancelledWhenGone, respond
from services.gateway.guarded import limited
from services.gateway.pouring import SIP_BYTES, read_into
from services.gateway.settings import HeadLimits
from tests.integration.test_edge_server import Client, served

SECONDS = 20
LONG = bytes(range(256)) * 3000
SIZES = (1, 100, SIP_BYTES, 65_536, 300_000, len(LONG))


class App:
    """Answers with the digits of a body's sum; `patience` is how long it waits for one."""

    def __init__(self) -> None:
        self.patience = float(SECONDS)
        self.gone = asyncio.Event()
        self.memory: list[bytearray] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        with CancelledWhenGone(scope):
            if scope["path"] == "/refused":
                await respond(send, 403, [], b"refused")
                return
            self.memory.append(memory := bytearray(int(headers[b"content-length"])))
            try:
                async with asyncio.timeout(self.patience):
                    size = await read_into(memoryview(memory), receive)
            except TimeoutError:
                await respond(send, 504, [], b"late")
                return
            except (ClientGone, asyncio.CancelledError):
                self.gone.set()
                raise
            await respond(send, 200, [], f"{size} {sum(memory)}".encode())


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def event_loop_policy(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def port(app: App) -> AsyncIterator[int]:
    async with served(app, limited(HeadLimits())) as found:
        yield found


def post(size: int, path: str = "/", more: str = "") -> str:
    return f"POST {path} HTTP/1.1\nHost: x\nContent-Length: {size}\n{more}\n"


def told(body: bytes) -> bytes:
    return f"{len(body)} {sum(body)}".encode()


async def test_bodies_of_every_size_one_after_another(port: int) -> None:
    async with Client(port) as client:
        for size in (*SIZES, *reversed(SIZES)):
            await client.say(post(size), LONG[:size])
            assert await client.hear() == [told(LONG[:size])]


async def test_a_body_in_pieces_with_pauses(port: int) -> None:
    async with Client(port) as client:
        await client.say(post(len(LONG)))
        for start in range(0, len(LONG), 100_001):
            await asyncio.sleep(0.01)
            await client.say("", LONG[start : start + 100_001])
        assert await client.hear() == [told(LONG)]


async def test_what_follows_a_body_at_once_is_another_request(port: int) -> None:
    async with Client(port) as client:
        bodies = [LONG, LONG[:10], LONG[:200_000], LONG[5:], b"!"]
        for body in bodies:
            client.writer.write(post(len(body)).replace("\n", "\r\n").encode() + body)
        assert await client.hear(len(bodies)) == [told(body) for body in bodies]


async def test_a_client_that_waits_for_leave_to_send_gets_it(port: int) -> None:
    async with Client(port) as client:
        await client.say(post(len(LONG), more="Expect: 100-continue\n"))
        async with asyncio.timeout(SECONDS):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.say("", LONG)
        assert await client.hear() == [told(LONG)]


async def test_a_body_that_nobody_reads_is_no_part_of_what_follows(port: int) -> None:
    async with Client(port) as client:
        for _ in range(3):
            await client.say(post(len(LONG), "/refused"), LONG)
            await client.say(post(len(LONG)), LONG)
            assert await client.hear(2) == [b"refused", told(LONG)]


async def test_memory_is_left_alone_once_nobody_waits_and_the_connection_goes_on(app: App, port: int) -> None:
    app.patience = 0.2
    async with Client(port) as client:
        await client.say(post(len(LONG)), LONG[:300_000])
        assert await client.hear() == [b"late"]
        before = bytes(app.memory[0])
        assert before[:300_000] == LONG[:300_000]
        app.patience = SECONDS
        await client.say("", LONG[300_000:])
        await client.say(post(3), b"abc")
        assert await client.hear() == [told(b"abc")]
    assert app.memory[0] == before


@pytest.mark.parametrize("half", ["close", "abort"])
async def test_a_client_that_goes_away_in_the_middle_is_noticed(app: App, port: int, half: str) -> None:
    async with Client(port) as client:
        await client.say(post(len(LONG)), LONG[:300_000])
        await asyncio.sleep(0.1)
        transport: Any = client.writer.transport
        getattr(transport, half)()
        async with asyncio.timeout(SECONDS):
            await app.gone.wait()


async def test_messages_of_others_are_gathered_and_never_too_much() -> None:
    messages = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.request", "body": b"de"}]

    def again() -> Receive:
        left = iter(messages)

        async def receive() -> Any:
            return next(left)

        return receive

    memory = bytearray(6)
    assert (await read_into(memoryview(memory), again()), memory) == (5, b"abcde\0")
    with pytest.raises(Exception, match="longer than the 4 bytes"):
        await read_into(memoryview(bytearray(4)), again())
