"""Large bodies of predictions in memory that the gateway shares: where they lie, who gets them, and that none stays."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc.aio as triton_grpc
from prometheus_client import REGISTRY

from deploy.embedded.ports import free_port
from shared import frames, oip
from shared.body_pool import FOLDER, PREFIX, NotHere, Place, Pools
from shared.body_store import BodyStore
from shared.tensors import from_numpy
from tests.integration.gateway_neighbours import Gateway, bearer, summed
from tests.integration.running import until
from tests.integration.test_gateway_inference import INFER, MODEL, gateway, key

__all__ = ["gateway", "key"]

SHARED_MB = 3
ROWS = np.arange(80_000, dtype=np.float32).reshape(20_000, 4) % 7
SUMS = ROWS.sum(axis=1)
BODY, HEADER = oip.encode_request(oip.InferRequest((from_numpy("pixels", ROWS),), binary_default=True))


class Reader:
    """Answers as inference does; `flags` says how bodies came."""

    def __init__(self, folder: Path) -> None:
        self.pools, self.store = Pools(), BodyStore((folder / "artifacts").as_uri(), folder)
        self.flags: list[int] = []
        self.places: list[Place] = []
        self.is_here, self.gate = True, asyncio.Event()
        self.gate.set()

    async def __call__(self, request: frames.Request) -> frames.Reply:
        self.flags.append(request.flags)
        if request.flags & frames.CLAIMED:
            body = await self.store.fetch(frames.request_claim(request.prediction_id))
            return await self._reply(request, body)
        if not request.flags & frames.POOLED:
            return await self._reply(request, memoryview(request.body))
        self.places.append(place := Place.decode(request.body))
        if not self.is_here:
            return frames.Reply(request.prediction_id, NotHere.status, b"{}")
        body = self.pools.body(place)
        await self.gate.wait()
        return await self._reply(request, body)

    async def _reply(self, request: frames.Request, body: memoryview) -> frames.Reply:
        asked = oip.parse_request(body, request.header_length)
        found, header_length = oip.encode_reply(summed(asked.inputs[0]), asked)
        await self.store.keep(frames.reply_claim(request.prediction_id), found)
        return frames.Reply(request.prediction_id, 200, b"", "3", header_length, is_claimed=True)


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAY_SHARED_MB", str(SHARED_MB))
    monkeypatch.setenv("GATEWAY_ARTIFACTS_URL", (tmp_path / "artifacts").as_uri())
    monkeypatch.setenv("GATEWAY_HOME_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_GRPC_PORT", str(free_port()))


@pytest.fixture
async def reader(gateway: Gateway, tmp_path: Path) -> Reader:
    found = Reader(tmp_path)
    gateway.neighbours.infer = found
    return found


def used() -> float | None:
    return REGISTRY.get_sample_value("aimass_body_pool_bytes")


async def post(gateway: Gateway, key: str, content: Any = BODY, **headers: str) -> httpx.Response:
    given = bearer(key) | {oip.HEADER_LENGTH: str(HEADER)} | headers
    return await gateway.http.post(INFER, content=content, headers=given)


def sums(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return np.frombuffer(reply.content[int(reply.headers[oip.HEADER_LENGTH]) :], np.float32)


async def test_a_large_body_is_read_where_it_was_written(gateway: Gateway, key: str, reader: Reader) -> None:
    for content, headers in ((BODY, {}), (gzip.compress(BODY), {"Content-Encoding": "gzip"})):
        np.testing.assert_array_equal(sums(await post(gateway, key, content, **headers)), SUMS)

    async def pieces() -> Any:
        for start in range(0, len(BODY), 50_000):
            yield BODY[start : start + 50_000]

    np.testing.assert_array_equal(sums(await post(gateway, key, pieces())), SUMS)
    assert reader.flags == [frames.POOLED] * 3
    assert (used(), [reader.pools.is_held(place) for place in reader.places]) == (0, [False] * 3)


async def test_over_grpc_too(gateway: Gateway, key: str, reader: Reader) -> None:
    port = gateway.service.settings.model_dump()["grpc_port"]
    tensor = triton_grpc.InferInput("pixels", ROWS.shape, "FP32")
    tensor.set_data_from_numpy(ROWS)
    async with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        found = await client.infer(MODEL, [tensor], headers={"authorization": f"Bearer {key}"})
    np.testing.assert_array_equal(found.as_numpy("sum"), SUMS)
    assert (reader.flags, used()) == ([frames.POOLED], 0)


async def test_who_does_not_share_our_memory_gets_it_from_the_store(
    gateway: Gateway, key: str, reader: Reader, tmp_path: Path
) -> None:
    reader.is_here = False
    for _ in range(2):
        np.testing.assert_array_equal(sums(await post(gateway, key)), SUMS)
    assert reader.flags == [frames.POOLED, frames.CLAIMED, frames.CLAIMED]
    assert used() == 0
    await until(lambda: nothing_in(tmp_path / "artifacts" / "claims"))


async def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


async def test_what_has_no_room_goes_through_the_store(gateway: Gateway, key: str, reader: Reader) -> None:
    """Of 47 blocks that are no more than three bodies of 12."""
    reader.gate.clear()
    large = np.zeros((47_000, 4), np.float32)
    body, header = oip.encode_request(oip.InferRequest((from_numpy("pixels", large),), binary_default=True))

    async def send() -> httpx.Response:
        return await post(gateway, key, body, **{oip.HEADER_LENGTH: str(header)})

    sending = [asyncio.create_task(send()) for _ in range(4)]
    await until(lambda: is_true(REGISTRY.get_sample_value("aimass_predictions_in_flight") == 4))
    reader.gate.set()
    assert [len(sums(await one)) for one in sending] == [47_000] * 4
    assert sorted(reader.flags) == [frames.CLAIMED, *[frames.POOLED] * 3]
    assert used() == 0


async def is_true(found: bool) -> bool:
    return found


async def test_nothing_stays_of_what_is_refused_or_given_up(gateway: Gateway, key: str, reader: Reader) -> None:
    document = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": list(ROWS.shape)}]}
    entry = document["inputs"][0] | {"parameters": {"binary_data_size": ROWS.nbytes}}
    header = json.dumps({"inputs": [entry], "parameters": {"timeout": -1}}).encode()
    refused = await post(gateway, key, header + ROWS.tobytes(), **{oip.HEADER_LENGTH: str(len(header))})
    assert (refused.status_code, "timeout" in refused.text, used()) == (400, True, 0)
    refused = await post(gateway, key, **{oip.HEADER_LENGTH: str(len(BODY) + 1)})
    assert (refused.status_code, used()) == (400, 0)
    reader.gate.clear()
    late = await post(gateway, key, **{"X-Request-Timeout-Ms": "100"})
    assert (late.status_code, used(), reader.pools.is_held(reader.places[-1])) == (504, 0, False)
    leaving = asyncio.create_task(post(gateway, key))
    await until(lambda: is_true((used() or 0) >= len(BODY)))
    leaving.cancel()
    await until(lambda: is_true(used() == 0))
    reader.gate.set()
    np.testing.assert_array_equal(sums(await post(gateway, key)), SUMS)


async def test_a_body_that_breaks_off_leaves_its_place(gateway: Gateway, key: str, reader: Reader) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    lines = [
        f"POST {INFER} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {key}",
        f"{oip.HEADER_LENGTH}: {HEADER}",
        f"Content-Length: {len(BODY)}",
    ]
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join([*lines, "\r\n"]).encode() + BODY[:200_000])
    await until(lambda: is_true((used() or 0) > 0))
    writer.close()
    await until(lambda: is_true(used() == 0))
    assert reader.flags == []


async def test_the_memory_is_given_back_at_the_end(gateway: Gateway, key: str, reader: Reader) -> None:
    await post(gateway, key)
    path = FOLDER / f"{PREFIX}{reader.places[0].pool.hex()}"
    assert path.stat().st_mode & 0o777 == 0o600
    gateway.service.stop()
    await until(lambda: is_true(not path.exists()))
