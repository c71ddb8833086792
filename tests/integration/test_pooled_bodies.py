"""Bodies that Triton reads from shared memory: each gets its own answer, whoever ends or gives up meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from onnx import helper

from deploy.embedded.testing_servers import TritonServer
from services.inference.engine import Triton
from services.inference.repository import Repository
from services.inference.requests import message
from shared import frames, oip
from shared.body_pool import PREFIX, BodyPool, Lease, Pools
from shared.tensors import DTYPES, Tensor, from_numpy, to_numpy
from tests.freezing import freeze, thaw
from tests.integration import onnx_models
from tests.integration.onnx_models import Served, doubled, served, spec
from tests.integration.test_inference import House, cached_models, house, lost_seconds, new_id_bytes, settings, triton
from tests.integration.test_shared_calls import Send, output, send, stage
from tests.integration.test_triton import stub_of

__all__ = ["cached_models", "house", "lost_seconds", "send", "settings", "triton"]

SECONDS = 60.0
WIDE, MIRROR = "default.wide.1", "default.mirror.1"
COLUMNS = 60_000


@pytest.fixture
def pool() -> Iterator[BodyPool]:
    found = BodyPool(32 * 1024**2)
    yield found
    found.close()


class Engine:
    """Triton as a process sees it that has met no pool yet."""

    def __init__(self, server: TritonServer) -> None:
        self.pools = Pools()
        self.triton = Triton(server.http, server.grpc, server.access_header, pools=self.pools)

    async def serve(self, server: TritonServer, name: str, model: Served) -> Served:
        repository = Repository(server.repository)
        repository.prepare()
        repository.write(name, model.signature, model.onnx, model.digest)
        await self.triton.load(name)
        return model

    def at(self, pool: BodyPool, *tensors: Tensor) -> tuple[oip.InferRequest, Lease]:
        """A request whose tensors lie in a pool, one behind the other."""
        body = b"".join(tensor.data for tensor in tensors)
        lease = pool.lease(len(body))
        assert lease is not None
        lease.view[:] = body
        view, end, found = self.pools.body(lease.place(len(body))), 0, []
        for tensor in tensors:
            begin, end = end, end + len(tensor.data)
            found.append(tensor._replace(data=view[begin:end]))
        return oip.InferRequest(tuple(found)), lease

    async def doubles(self, pool: BodyPool, seed: int) -> None:
        request, lease = self.at(pool, from_numpy("x", row(seed)))
        reply = await self.triton.infer(WIDE, request, doubled(-1, -1).signature, SECONDS)
        np.testing.assert_array_equal(to_numpy(reply.outputs[0]), 2 * row(seed))
        lease.release()


@pytest_asyncio.fixture
async def engine(triton: TritonServer) -> AsyncIterator[Engine]:
    found = Engine(triton)
    yield found
    await found.triton.close()


def row(seed: int, rows: int = 1) -> NDArray[np.float32]:
    """Whole numbers, whose sums are exact."""
    return np.random.default_rng(seed).integers(0, 10, size=(rows, COLUMNS)).astype(np.float32)


def summed() -> Served:
    """The sum of each row."""
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)]
    return served(nodes, [spec("x", "FP32", -1, -1)], [spec("y", "FP32", -1, 1)], axes=np.array([1]))


async def regions(server: TritonServer) -> set[str]:
    """The pools that Triton reads from; it knows them by other names than everybody can see."""
    async with httpx.AsyncClient(headers=dict([server.access_header])) as client:
        found = (await client.get(f"{server.http}/v2/systemsharedmemory/status")).json()
    assert not any(region["name"] in region["key"] for region in found)
    return {file for region in found if (file := region["key"].strip("/")).startswith(PREFIX)}


def name_of(pool: BodyPool) -> str:
    lease = pool.lease(1)
    assert lease is not None
    place = lease.place(1)
    lease.release()
    return f"{PREFIX}{place.pool.hex()}"


def test_what_lies_in_a_region_is_not_sent() -> None:
    tensor, signature = from_numpy("x", row(1)), doubled(-1, -1).signature
    region = {"x": oip.Region("here", 64, len(tensor.data))}
    head, *data = message("host", WIDE, oip.InferRequest((tensor,)), signature, region)
    assert (data, b'"shared_memory_region":"here"' in head, b"binary_data_size" in head) == ([], True, False)
    head, *data = message("host", WIDE, oip.InferRequest((tensor,)), signature)
    assert (data, b"shared_memory" in head) == ([tensor.data], False)


async def test_tensors_of_every_datatype_are_read_where_they_lie(
    triton: TritonServer, engine: Engine, pool: BodyPool
) -> None:
    model = await engine.serve(triton, MIRROR, onnx_models.mirror())
    values = {name: (np.arange(80).reshape(40, 2) % 2).astype(dtype) for name, dtype in DTYPES.items()}
    values["BYTES"] = np.full((40, 2), b"x" * 2000, object)
    request, lease = engine.at(pool, *(from_numpy(f"x_{name}", array) for name, array in values.items()))
    reply = await engine.triton.infer(MIRROR, request, model.signature, SECONDS)
    for tensor in reply.outputs:
        np.testing.assert_array_equal(to_numpy(tensor), values[tensor.datatype])
    assert not await regions(triton) & {name_of(pool)}, "small tensors and BYTES are sent"
    lease.release()


async def test_triton_may_start_anew_and_so_may_we(triton: TritonServer, engine: Engine, pool: BodyPool) -> None:
    await engine.serve(triton, WIDE, doubled(-1, -1))
    for seed in range(3):
        await engine.doubles(pool, seed)
    assert await regions(triton) == {name_of(pool)}
    after = Engine(triton)
    await after.doubles(pool, 3)
    assert await regions(triton) == {name_of(pool)}
    triton.kill()
    triton.start()
    await after.serve(triton, WIDE, doubled(-1, -1))
    assert await regions(triton) == set()
    await after.doubles(pool, 4)
    await after.doubles(pool, 5)
    assert await regions(triton) == {name_of(pool)}
    await after.triton.close()


async def test_pools_come_and_go(triton: TritonServer, engine: Engine, pool: BodyPool) -> None:
    await engine.serve(triton, WIDE, doubled(-1, -1))
    old = BodyPool(4 * 1024**2)
    await engine.doubles(old, 1)
    assert await regions(triton) >= {name_of(old)}
    gone = name_of(old)
    old.close()
    await engine.doubles(pool, 2)
    assert await regions(triton) == {name_of(pool)} != {gone}


async def test_what_triton_cannot_open_is_sent(triton: TritonServer, engine: Engine) -> None:
    await engine.serve(triton, WIDE, doubled(-1, -1))
    lost = BodyPool(4 * 1024**2)
    name, (request, _) = name_of(lost), engine.at(lost, from_numpy("x", row(0)))
    lost.close()
    for _ in range(2):
        reply = await engine.triton.infer(WIDE, request, doubled(-1, -1).signature, SECONDS)
        np.testing.assert_array_equal(to_numpy(reply.outputs[0]), 2 * row(0))
    assert name not in await regions(triton)


def asked(pool: BodyPool, array: NDArray[Any]) -> tuple[frames.Request, Lease]:
    body, header_length = oip.encode_request(oip.InferRequest((from_numpy("x", array),), binary_default=True))
    lease = pool.lease(len(body))
    assert lease is not None
    lease.view[:] = body
    deadline, place = int((time.time() + SECONDS) * 1000), lease.place(len(body)).encode()
    return frames.Request(new_id_bytes(), deadline, place, header_length, frames.POOLED, version="1"), lease


async def test_those_that_come_together_have_each_its_answer(house: House, send: Send, pool: BodyPool) -> None:
    await stage(house, summed())
    arrays = [row(seed, 1 + seed % 3) for seed in range(12)]
    requests, leases = zip(*(asked(pool, array) for array in arrays), strict=True)
    for reply, array in zip((await send(list(requests)))[0], arrays, strict=True):
        np.testing.assert_array_equal(output(reply), array.sum(axis=1, keepdims=True))
    for lease in leases:
        lease.release()


async def test_what_was_given_up_meanwhile_gets_no_answer(
    house: House, send: Send, pool: BodyPool, triton: TritonServer
) -> None:
    """Another body lies there by the time that the model comes to read it."""
    await stage(house, summed())
    first, lease = asked(pool, row(1))
    assert output((await send([first]))[0][0]) == row(1).sum()
    stub = stub_of(triton, "default.affine.1").pid
    freeze(stub)
    again = first._replace(prediction_id=new_id_bytes())
    waiting = asyncio.create_task(send([again]))
    await asyncio.sleep(0.5)
    lease.release()
    other, lease = asked(pool, row(2))
    thaw(stub)
    (reply,), _ = await waiting
    assert (reply.status, b"given up" in bytes(reply.body)) == (503, True)
    assert output((await send([other]))[0][0]) == row(2).sum() != row(1).sum()
    lease.release()


async def test_a_place_that_is_not_there_is_told_from_one_that_never_was(
    house: House, send: Send, pool: BodyPool
) -> None:
    await stage(house, summed())
    request, lease = asked(pool, row(1))
    lease.release()
    elsewhere = request._replace(prediction_id=new_id_bytes(), body=bytes(16) + bytes(request.body[16:]))
    garbage = request._replace(prediction_id=new_id_bytes(), body=b"?")
    replies, _ = await send([request, elsewhere, garbage])
    assert [reply.status for reply in replies] == [421, 421, 400]
