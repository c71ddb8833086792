"""The short way of a prediction says what the long one says, and is told from it by nothing but its speed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from services.gateway.open_inference import lane
from services.gateway.open_inference.lane import Lane
from shared import frames
from shared.errors import NotFound
from shared.permissions import Role
from tests.integration.gateway_neighbours import Gateway, echo, running_gateway
from tests.integration.running import guarded_bus, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS = 60
MODEL = "digits-cnn"
DOCUMENT = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
BODY = json.dumps(DOCUMENT).encode()
OF_ITS_OWN = re.compile(rb"(?m)^(x-prediction-id|date): .*\r\n|\"prediction_id\":\"[^\"]*\"|t=\d+")
TWICE = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["free", "limited"])
async def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, guarded_bus(tmp_path_factory.mktemp("nats"), HANDLERS) as server:
        patch.setenv("GATEWAY_NATS_URL", server.servers)
        patch.setenv("GATEWAY_NATS_PASSWORD", "password")
        patch.setenv("GATEWAY_PORT", str(port))
        if request.param == "limited":
            patch.setenv("GATEWAY_RATE", "1000000")
            patch.setenv("GATEWAY_PROJECT_RATE", "1000000")
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            await started.neighbours.serve(MODEL)
            started.neighbours.answers["get_model"] = NotFound("unknown")
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def key(gateway: Gateway) -> str:
    made = await gateway.make_key(Role.OPERATOR, key_id="key-1")
    await gateway.becomes(made, 200)
    return made


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that went the short way."""
    found: list[bytes] = []
    send = Lane.send

    def noting(self: Lane, passage: Any, body: bytes) -> None:
        found.append(body)
        send(self, passage, body)

    monkeypatch.setattr(Lane, "send", noting)
    return found


class Line:
    """A connection to the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._port = int(gateway.url.rpartition(":")[2])

    async def __aenter__(self) -> "Line":
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.writer.close()

    async def say(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hear(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head + await self._reader.readexactly(int(length[1]) if length else 0)

    async def ask(self, text: bytes) -> bytes:
        await self.say(text)
        return await self.hear()


def asked(key: str, body: bytes = BODY, model: str = MODEL, **headers: str) -> bytes:
    lines = {"host": "a", "content-length": str(len(body)), "authorization": f"Bearer {key}", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\n{head}\r\n".encode() + body


async def large(request: frames.Request) -> frames.Reply:
    return frames.Reply(request.prediction_id, 200, b"[" + b"1," * 2000 + b"1]", "3")


async def broken(request: frames.Request) -> frames.Reply:
    return frames.Reply(request.prediction_id, 503, b'{"error": "not now"}', retry_after=2)


async def silent(_: frames.Request) -> None:
    return None


CASES: dict[str, tuple[dict[str, Any], Any, int]] = {
    "an answer": ({}, echo, 200),
    "binary": ({"body": BODY + bytes(16), "inference_header_content_length": str(len(BODY))}, echo, 400),
    "a header beyond the body": ({"inference_header_content_length": "100000"}, echo, 400),
    "a wrong timeout": ({"body": b'{"timeout": 1, "parameters": {"timeout": "x"}}'}, echo, 400),
    "an answer that is packed": ({"accept_encoding": "gzip"}, large, 200),
    "an answer that is too small": ({"accept_encoding": "gzip"}, echo, 200),
    "an error of the model's": ({}, broken, 503),
    "none in time": ({"x_request_timeout_ms": "50"}, silent, 504),
    "no such model": ({"model": "nobody-s"}, echo, 404),
    "a name that cannot be": ({"model": "NO"}, echo, 404),
    "kept alive by word": ({"connection": "keep-alive"}, echo, 200),
}


@pytest.mark.parametrize("case", CASES)
async def test_both_ways_say_the_same(gateway: Gateway, key: str, taken: list[bytes], case: str) -> None:
    given, gateway.neighbours.infer, status = CASES[case]
    async with Line(gateway) as line:
        said = [await line.ask(asked(key, **given)) for _ in range(TWICE + 2)]
    assert len(taken) == 2
    assert said[0].startswith(b"HTTP/1.1 %d " % status)
    first, *others = (re.sub(rb"(r=)\d+", rb"\1", OF_ITS_OWN.sub(b"", one)) for one in said)
    assert others == [first] * len(others)
    ids = {re.search(rb"x-prediction-id: (\S{36})\r\n", one) for one in said}
    assert len({found[1] for found in ids if found}) == len(said)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
        {"connection": "close"},
        {"content_encoding": "identity"},
        {"origin": "https://a.example"},
        {"x_request_timeout_ms": "never"},
    ],
)
async def test_the_unusual_goes_the_other_way(
    gateway: Gateway, key: str, taken: list[bytes], headers: dict[str, str]
) -> None:
    gateway.neighbours.infer = echo
    for _ in range(TWICE + 1):
        async with Line(gateway) as line:
            await line.ask(asked(key, **headers))
    assert taken == []


async def test_recorded_ones_go_by_a_task_and_answer_alike(
    gateway: Gateway, key: str, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.neighbours.infer = echo
    monkeypatch.setattr(lane.observe._tracing, "ratio", 1.0)
    async with Line(gateway) as line:
        said = [await line.ask(asked(key)) for _ in range(TWICE + 1)]
    assert len(taken) == 1 and said[-1].startswith(b"HTTP/1.1 200 ")
    assert said[-1].count(b"ratelimit") == said[0].count(b"ratelimit")
    assert frames.is_sampled(gateway.neighbours.requests[-1].traceparent)


async def test_a_key_that_is_revoked_counts_no_more(gateway: Gateway, key: str, taken: list[bytes]) -> None:
    gateway.neighbours.infer = echo
    async with Line(gateway) as line:
        for _ in range(TWICE + 1):
            await line.ask(asked(key))
        assert len(taken) == 1
        await gateway.put(key, b"", {"KV-Operation": "DEL"})
        await gateway.becomes(key, 401)
        assert (await line.ask(asked(key))).startswith(b"HTTP/1.1 401 ")


async def test_who_goes_away_is_waited_for_no_more(gateway: Gateway, key: str, taken: list[bytes]) -> None:
    gateway.neighbours.infer = echo
    withdrawn: list[bytes] = []

    async def hear(message: Any) -> None:
        withdrawn.append(message.data)

    await gateway.connection.subscribe(f"infer.default.{MODEL}.withdrawn", cb=hear)
    async with Line(gateway) as line:
        for _ in range(TWICE):
            await line.ask(asked(key))
        gateway.neighbours.infer = silent
        before = len(gateway.neighbours.requests)
        await line.say(asked(key))

        async def has_come() -> bool:
            return len(gateway.neighbours.requests) > before

        await until(has_come)
    assert len(taken) == 1

    async def is_told() -> bool:
        return withdrawn == [gateway.neighbours.requests[-1].prediction_id]

    await until(is_told)


async def test_requests_at_once_are_answered_in_order(gateway: Gateway, key: str, taken: list[bytes]) -> None:
    gateway.neighbours.infer = echo
    other = BODY.replace(b"4]", b"5]")
    async with Line(gateway) as line:
        for _ in range(TWICE):
            await line.ask(asked(key))
        await line.say(asked(key))
        await line.say(asked(key, other) + asked(key))
        said = [await line.hear() for _ in range(3)]
    assert [b"[10.0]" in one for one in said] == [True, False, True]


async def test_what_goes_on_with_a_head_begins_no_request(gateway: Gateway, key: str, taken: list[bytes]) -> None:
    """A known head in a piece of its own, behind the beginning of another: it is a part of that one."""
    gateway.neighbours.infer = echo
    async with Line(gateway) as line:
        for _ in range(TWICE):
            await line.ask(asked(key))
        await line.say(asked(key) + b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\nx: ")
        await line.hear()
        assert taken == []
        answer = await line.ask(asked(key))
        assert (b'"live":true' in answer, taken) == (True, [])


async def test_no_key_is_kept(gateway: Gateway, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    find = Lane.find

    def noting(self: Lane, digest: bytes) -> lane.Known | None:
        kept.append(repr(self._heads))
        return find(self, digest)

    monkeypatch.setattr(Lane, "find", noting)
    gateway.neighbours.infer = echo
    async with Line(gateway) as line:
        for _ in range(TWICE + 1):
            await line.ask(asked(key))
    assert MODEL in kept[-1] and key not in kept[-1]
