"""The edge against clients that mean ill: heads without end, connections without number, and TLS as it is set."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from deploy import certificates
from deploy.embedded.ports import free_port
from services.gateway.bodies import read_body
from services.gateway.corked import respond
from services.gateway.headers import with_cors
from services.gateway.server import HttpServer
from services.gateway.settings import Settings
from services.gateway.sse import Followers
from shared.errors import AimassError
from shared.tls import client_context

SECONDS = 60
MOST_BODY = 10_000


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body as the edge does, and says how much it was."""
    try:
        body = await read_body(receive, dict(scope["headers"]), MOST_BODY)
    except AimassError as error:
        await respond(send, error.status, [], b"")
        return
    await respond(send, 200, [(b"content-type", b"text/plain")], str(len(body)).encode())


@asynccontextmanager
async def edge(**given: Any) -> AsyncIterator[int]:
    settings = Settings.model_validate({"port": free_port(), "nats_url": "nats://127.0.0.1:1", **given})
    server = HttpServer(settings, with_cors(answering, settings), Followers(1))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(SECONDS):
        while not server._server.started:
            await asyncio.sleep(0.01)
    try:
        yield settings.port
    finally:
        await server.close()
        await serving


async def said(port: int, *pieces: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What the edge says until it ends the connection."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        for piece in pieces:
            writer.write(piece)
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
GET = b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
TOO_MUCH: dict[str, tuple[bytes, bytes]] = {
    "a long target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
    "many headers": (GET + b"".join(b"x-%d: 1\r\n" % number for number in range(101)) + b"\r\n", b"431"),
    "a large header": (GET + b"x: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
    "a header without end": (GET + b"x: " + b"a" * 400_000, b"431"),
    "a name without end": (GET + b"x" * 400_000, b"431"),
    "a target without end": (b"GET /" + b"a" * 400_000, b"431"),
    "a large body": (POST + b"Content-Length: 10001\r\n\r\n", b"413"),
    "a large body in chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\na\r\n" * 10_001
        + b"0\r\n\r\n",
        b"413",
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_what_is_too_much_is_refused(case: str) -> None:
    content, status = TOO_MUCH[case]
    async with edge() as port:
        answer = await said(port, content)
        # Who goes on talking after that may lose the answer with the connection.
        assert answer.split()[1:2] == [status] or ("without end" in case and not answer), answer[:200]
        assert b"200" in await said(port, GET + b"\r\n")


async def test_what_is_just_not_too_much_is_answered() -> None:
    headers = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 250) for number in range(90))
    async with edge() as port:
        assert b"200 OK" in await said(port, GET + headers + b"\r\n")
        assert b"200 OK" in await said(
            port, b"GET /" + b"a" * 8_000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )


SMUGGLED = {
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": b"Content-Length: +3\r\n\r\nabc",
    "a header without colon": b"x\r\n\r\n",
    "a folded header": b"x: a\r\n b: c\r\n\r\n",
    "a space before the colon": b"Content-Length : 3\r\n\r\nabc",
    "a null in a header": b"x: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
async def test_what_two_servers_may_read_in_two_ways_is_refused(case: str) -> None:
    async with edge() as port:
        answer = await said(port, POST + SMUGGLED[case])
        assert answer.split()[1:2] == [b"400"], answer


@pytest.mark.parametrize("begun", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\nx: ", b"\r\n"])
async def test_who_never_asks_is_cut_off(begun: bytes) -> None:
    """Without a word where nothing was said: a client might take it for the answer to what it is about to ask."""
    async with edge(head_seconds=0.2) as port:
        assert (await said(port, begun)).split()[1:2] == ([b"408"] if begun else [])


async def test_a_head_that_drips_is_cut_off_and_others_are_served() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(GET)
        while not writer.is_closing():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.05)

    async with edge(head_seconds=0.5) as port:
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        dripping = [asyncio.create_task(drip(writer)) for _, writer in clients]
        assert b"200 OK" in await said(port, GET + b"\r\n")
        async with asyncio.timeout(SECONDS):
            ended = await asyncio.gather(*(reader.read() for reader, _ in clients), return_exceptions=True)
        assert all(isinstance(end, ConnectionError) or end.split()[1] == b"408" for end in ended)
        for task, (_, writer) in zip(dripping, clients, strict=True):
            task.cancel()
            writer.close()


def post_of(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


async def test_a_body_that_drips_on_after_its_answer_is_cut_off() -> None:
    async with edge(head_seconds=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post_of(10_001))
        async with asyncio.timeout(SECONDS):
            assert b"413" in await reader.readuntil(b"\r\n\r\n")
            ended = asyncio.create_task(reader.read())
            while not ended.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)
            await asyncio.gather(ended, return_exceptions=True)
        writer.close()


async def test_after_a_body_that_was_too_large_the_connection_goes_on() -> None:
    """Clients send the rest of what was refused, and ask again over the same connection."""
    async with edge() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post_of(200_000) + b"a" * 100_000)
        async with asyncio.timeout(SECONDS):
            assert b"413" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(2.5)  # the edge looks for who is late once a second
            writer.write(b"a" * 100_000)
            await asyncio.sleep(0.1)
            writer.write(GET + b"\r\n")
            assert (await reader.read()).split()[1:2] == [b"200"]
        writer.close()


async def test_a_connection_waits_for_its_next_question() -> None:
    """Longer than a head may take: an idle client is none that drips."""
    async with edge(head_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(SECONDS):
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(1) == b"0"
            await asyncio.sleep(2.5)
        writer.close()


async def test_connections_are_counted() -> None:
    async with edge(max_connections=5) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        assert (await said(port, GET + b"\r\n")).split()[1:2] == [b"503"]
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(SECONDS):
            while b"200 OK" not in await said(port, GET + b"\r\n"):
                await asyncio.sleep(0.02)


async def test_every_answer_says_little_of_the_server() -> None:
    async with edge() as port:
        for asked in (GET + b"\r\n", b"nonsense\r\n\r\n", TOO_MUCH["many headers"][0]):
            answer = (await said(port, asked)).lower()
            assert answer
            assert not any(word in answer for word in (b"server:", b"uvicorn", b"python", b"x-powered-by"))
        answer = (await said(port, GET + b"\r\n")).lower()
        assert b"x-content-type-options: nosniff" in answer
        assert b"cross-origin-resource-policy: same-origin" in answer
        assert b"strict-transport-security" not in answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificates.make(tmp_path / "tls")
    return tmp_path / "tls"


def secured(folder: Path) -> dict[str, Path]:
    return {"tls_cert": folder / "edge.pem", "tls_key": folder / "edge.key"}


async def test_over_tls_browsers_are_told_to_keep_to_it(folder: Path) -> None:
    async with edge(**secured(folder)) as port:
        answer = (await said(port, GET + b"\r\n", tls=client_context(folder / "ca.pem"))).lower()
        assert b"200 ok" in answer
        assert b"strict-transport-security: max-age=31536000" in answer
        assert b"200" not in await said(port, GET + b"\r\n")


@pytest.mark.parametrize(("version", "status"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)])
async def test_tls_is_of_today(folder: Path, version: ssl.TLSVersion, status: bool) -> None:
    async with edge(**secured(folder)) as port:
        context = client_context(folder / "ca.pem")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
        context.set_ciphers("ALL:@SECLEVEL=0")
        try:
            answer = await said(port, GET + b"\r\n", tls=context)
        except OSError:  # ssl.SSLError is one
            answer = b""
        assert (b"200 OK" in answer) is status


def serial(port: int, folder: Path) -> int:
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        client_context(folder / "ca.pem").wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        found = secure.getpeercert()
        assert found
        return int(str(found["serialNumber"]), 16)


async def until_new(port: int, folder: Path, old: int) -> None:
    async with asyncio.timeout(SECONDS):
        while await asyncio.to_thread(serial, port, folder) == old:
            await asyncio.sleep(0.05)


async def test_another_certificate_is_used_and_nobody_is_cut_off(folder: Path) -> None:
    async with edge(**secured(folder)) as port:
        tls = client_context(folder / "ca.pem")
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")
        before = await asyncio.to_thread(serial, port, folder)
        certificates.make(folder)
        await until_new(port, folder, before)
        writer.write(GET + b"\r\n")
        async with asyncio.timeout(SECONDS):
            assert b"200 OK" in await reader.read()
        writer.close()


async def test_a_pair_that_does_not_fit_leaves_the_old_one(folder: Path) -> None:
    async with edge(**secured(folder)) as port:
        before = await asyncio.to_thread(serial, port, folder)
        (folder / "edge.pem").write_bytes((folder / "nats.pem").read_bytes())
        await asyncio.sleep(2.5)
        assert await asyncio.to_thread(serial, port, folder) == before
        (folder / "edge.key").write_bytes((folder / "nats.key").read_bytes())
        await until_new(port, folder, before)


OURS, OTHERS = b"https://console.example", b"https://evil.example"


def asked_by(origin: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: " + origin + b"\r\n\r\n"


def preflight(origin: bytes) -> bytes:
    asks = b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n"
    return b"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: " + origin + b"\r\n" + asks + b"\r\n"


@pytest.mark.parametrize("make", [asked_by, preflight])
async def test_pages_of_others_may_not_ask_unless_they_are_named(make: Callable[[bytes], bytes]) -> None:
    async with edge() as port:
        assert b"access-control" not in (await said(port, make(OURS))).lower()
    async with edge(cors_origins=[OURS.decode()]) as port:
        allowed = (await said(port, make(OURS))).lower()
        assert b"access-control-allow-origin: " + OURS in allowed
        assert b"access-control-allow-credentials" not in allowed
        assert b"access-control-allow-origin" not in (await said(port, make(OTHERS))).lower()
        assert b"access-control-allow-origin" not in (await said(port, make(OURS + b".evil.example"))).lower()


@pytest.mark.parametrize("origins", [["*"], ["https://*.example"], ["null"], ["https://a.example/"], ["ftp://a"]])
def test_no_origin_is_a_pattern(origins: list[str]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"port": 1, "cors_origins": origins})


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(ValidationError, match="name both files, or neither"):
        Settings.model_validate({"port": 1, "tls_cert": "x"})
