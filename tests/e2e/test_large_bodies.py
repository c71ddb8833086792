"""Bodies that no message of the bus could hold: in and out, over HTTP and gRPC, and nothing of them stays."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from numpy.typing import NDArray

from shared.oip import HEADER_LENGTH
from tests.e2e.test_uploads import bring, made, staged
from tests.house import House, until
from tests.integration import onnx_models

MODEL = "wide"
SIZES = (40_000, 150_000, 3_000_000)
TIMEOUTS_MS = (2, 5, 10, 20, 60_000)
PRESSED_SECONDS = 8.0
NUMBERS = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)


@pytest.fixture(scope="module")
def wide(house: House) -> House:
    made(bring(house, MODEL, onnx_models.doubled(-1, -1).onnx))
    staged(house, MODEL, 1)
    return house


@pytest.fixture(autouse=True)
def nothing_stays(house: House) -> Iterator[None]:
    yield
    claims = house.stack.home.folder("artifacts") / "claims"
    until(lambda: not list(claims.iterdir()), what="the bodies to be dropped")


def row(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(size).normal(size=(1, size)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_stock_clients(wide: House, size: int) -> None:
    array = row(size)
    for kind, address in ((http_client, wide.address), (grpc_client, wide.stack.info["gateway_grpc"])):
        headers = {"authorization": f"Bearer {wide.key}"}
        tensor = kind.InferInput("x", array.shape, "FP32")
        tensor.set_data_from_numpy(array)
        with kind.InferenceServerClient(address) as client:
            found = client.infer(MODEL, [tensor], model_version="1", headers=headers).as_numpy("y")
        np.testing.assert_array_equal(found, 2 * array)


def test_a_body_of_unknown_length(wide: House) -> None:
    array = row(SIZES[-1])
    entry = {"name": "x", "datatype": "FP32", "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True, "timeout": 30_000_000}}).encode()

    def chunks() -> Iterator[bytes]:
        body = header + array.tobytes()
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    reply = post(wide, chunks(), len(header))
    assert reply.status_code == 200
    blob = reply.content[int(reply.headers[HEADER_LENGTH]) :]
    np.testing.assert_array_equal(np.frombuffer(blob, np.float32), 2 * array[0])


async def test_who_gives_up_gets_nobody_else_a_wrong_answer(wide: House) -> None:
    """The memory of a body that was given up is written again while the model may still read it."""
    found: Counter[int] = Counter()
    dice, deadline = random.Random(1), time.monotonic() + PRESSED_SECONDS

    async def caller(client: httpx.AsyncClient) -> None:
        while time.monotonic() < deadline:
            size = dice.randrange(40_000, 220_000)
            first = dice.randrange(len(NUMBERS) - size)
            array = NUMBERS[first : first + size]
            entry = {"name": "x", "datatype": "FP32", "shape": [1, size], "parameters": {"binary_data_size": 4 * size}}
            head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
            given = {HEADER_LENGTH: str(len(head)), "X-Request-Timeout-Ms": str(dice.choice(TIMEOUTS_MS))}
            path = f"/v2/models/{MODEL}/versions/1/infer"
            reply = await client.post(path, content=head + array.tobytes(), headers=given)
            found[reply.status_code] += 1
            if reply.status_code == 200:
                answer = np.frombuffer(reply.content[int(reply.headers[HEADER_LENGTH]) :], np.float32)
                np.testing.assert_array_equal(answer, 2 * array)

    headers = {"Authorization": f"Bearer {wide.key}"}
    async with httpx.AsyncClient(base_url=wide.stack.info["gateway"], headers=headers, timeout=60) as client:
        await asyncio.gather(*(caller(client) for _ in range(12)))
    assert found.keys() <= {200, 503, 504}, found
    assert min(found[200], found[504]) > 10, found


def test_what_is_wrong_is_said(wide: House) -> None:
    body = bytes(2_000_000)
    refused = post(wide, body, 1_000)
    assert (refused.status_code, "JSON" in refused.json()["error"]) == (400, True)
    refused = post(wide, body, 3_000_000)
    assert (refused.status_code, HEADER_LENGTH in refused.json()["error"]) == (400, True)
    refused = post(wide, iter([body] * 40), 1_000)
    assert (refused.status_code, str(64 * 1024**2) in refused.json()["error"]) == (413, True)
    refused = post(wide, iter([body] * 10), None)
    assert (refused.status_code, "binary" in refused.json()["error"]) == (413, True)


def post(house: House, content: bytes | Iterator[bytes], header_length: int | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {house.key}"}
    if header_length is not None:
        headers[HEADER_LENGTH] = str(header_length)
    return house.http.post(f"/v2/models/{MODEL}/versions/1/infer", content=content, headers=headers)
