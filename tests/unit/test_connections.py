"""Connections to a peer that misbehaves: each failure is typed and no answer meets another request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from services.inference.connections import Pool, Response
from shared.errors import Unavailable

REQUEST = [b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"]
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


def answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def replying(*answers: bytes, close: bool = False) -> Peer:
    """A peer that answers the requests of every connection in turn."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
        if not close:
            await reader.read()
        writer.close()

    return peer


@asynccontextmanager
async def pool_to(peer: Peer, limit: int = 1, max_body: int = 1000) -> AsyncIterator[Pool]:
    connected: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        try:
            await peer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], limit, max_body)
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        for writer in connected:
            writer.close()


async def exchange(pool: Pool) -> Response:
    return await (await pool.send(REQUEST))


async def test_a_connection_is_used_again() -> None:
    async with pool_to(replying(answer(b"one", "Inference-Header-Content-Length: 3"), answer(b"two"))) as pool:
        assert await exchange(pool) == Response(200, "3", b"one")
        assert await exchange(pool) == Response(200, None, b"two")


async def test_a_chunked_answer_is_joined() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    async with pool_to(replying(chunks)) as pool:
        assert (await exchange(pool)).body == b"abc"


@pytest.mark.parametrize("headers", [(), ("Connection: close",)])
async def test_a_connection_that_its_peer_ends_is_not_used_again(headers: tuple[str, ...]) -> None:
    async with pool_to(replying(answer(b"x", *headers), close=bool(headers))) as pool:
        assert (await exchange(pool)).body == b"x"
        if headers:
            assert (await exchange(pool)).body == b"x"


@pytest.mark.parametrize(
    ("reply", "close", "message"),
    [
        (b"", True, "closed the connection"),
        (answer(b"12345")[:-2], True, "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False, "not HTTP"),
        (answer(b"x" * 1001), False, "larger than 1000 bytes"),
    ],
)
async def test_a_broken_answer_is_unavailable_and_the_next_call_connects_anew(
    reply: bytes, close: bool, message: str
) -> None:
    async with pool_to(replying(reply, close=close)) as pool:
        for _ in range(2):
            with pytest.raises(Unavailable, match=message):
                await exchange(pool)


async def test_an_answer_nobody_asked_for_ends_its_connection() -> None:
    async with pool_to(replying(answer(b"mine") + answer(b"stray"))) as pool:
        for _ in range(3):
            assert (await exchange(pool)).body == b"mine"


async def test_nobody_to_connect_to_is_unavailable() -> None:
    async with pool_to(replying()) as pool:
        pass
    with pytest.raises(Unavailable, match="not reachable"):
        await exchange(pool)


async def test_a_cancelled_call_takes_its_connection_along() -> None:
    served = 0

    async def slow_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        await reader.readuntil(b"\r\n\r\n")
        if served == 1:
            await reader.read()
        writer.write(answer(str(served).encode()))
        await reader.read()

    async with pool_to(slow_first) as pool:
        call = asyncio.ensure_future(exchange(pool))
        while not served:
            await asyncio.sleep(0)
        call.cancel()
        assert (await exchange(pool)).body == b"2"


async def test_callers_above_the_limit_wait_for_a_connection() -> None:
    connections = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b"x"))

    async with pool_to(counting, limit=3) as pool:
        answers = await asyncio.gather(*(exchange(pool) for _ in range(20)))
    assert (len(answers), connections) == (20, 3)


async def test_closing_the_pool_fails_calls_in_flight() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with pool_to(silent) as pool:
        call = asyncio.ensure_future(exchange(pool))
        await asked.wait()
        pool.close()
        with pytest.raises(Unavailable):
            await call


async def test_closing_the_pool_fails_a_call_that_is_still_connecting() -> None:
    async with pool_to(replying()) as pool:
        call = asyncio.ensure_future(exchange(pool))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(Unavailable):
            await call
