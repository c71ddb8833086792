"""Predictions through the gateway with stock clients, against a neighbour that speaks the frames of inference."""

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from shared import frames
from shared.errors import NotFound, Unavailable
from shared.permissions import Role
from shared.rpc.inference import InferenceStatistics, ModelConfiguration, ServedModel
from shared.rpc.registry import ModelView
from tests.integration.gateway_neighbours import SIGNATURE, Gateway, bearer, echo, running_gateway
from tests.integration.running import guarded_bus, until

MODEL = "digits-cnn"
INFER = f"/v2/models/{MODEL}/infer"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
DOCUMENT = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [2, 4], "data": ROWS.tolist()}]}


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    port = free_port()
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        monkeypatch.setenv("GATEWAY_MAX_IN_FLIGHT", "4")
        monkeypatch.setenv("GATEWAY_INFER_BYTES", "1000000")
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            await started.neighbours.serve(MODEL)
            started.neighbours.answers |= {
                "get_model": NotFound("unknown"),
                "get_served_model": ServedModel(
                    model=MODEL, ready=True, version=3, versions=[2, 3], signature=SIGNATURE
                ),
            }
            yield started


@pytest.fixture
async def key(gateway: Gateway) -> str:
    made = await gateway.make_key(Role.OPERATOR, key_id="key-1")
    await gateway.becomes(made, 200)
    return made


def pixels(rows: Any = ROWS, name: str = "pixels", binary: bool = True) -> Any:
    tensor = triton.InferInput(name, list(rows.shape), "FP32" if rows.dtype == np.float32 else "FP64")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


class Stock:
    """The stock client, in a thread of its own, with nothing but an Authorization header."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._address = gateway.url.removeprefix("http://")
        self._headers = bearer(key) if key else {}

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        def run() -> Any:
            with triton.InferenceServerClient(self._address) as client:
                return getattr(client, method)(*arguments, headers=dict(self._headers), **options)

        return await asyncio.to_thread(run)

    async def refused(self, model: str, *tensors: Any, **options: Any) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as caught:
            await self.call("infer", model, list(tensors), **options)
        return caught.value


class TestStockClient:
    """What tritonclient.http sees."""

    async def test_health_and_metadata(self, gateway: Gateway, key: str) -> None:
        anonymous, client = Stock(gateway, ""), Stock(gateway, key)
        assert await anonymous.call("is_server_live") and await anonymous.call("is_server_ready")
        assert await client.call("is_model_ready", MODEL) and await client.call("is_model_ready", MODEL, "3")
        assert "binary_tensor_data" in (await client.call("get_server_metadata"))["extensions"]
        metadata = await client.call("get_model_metadata", MODEL)
        assert (metadata["name"], metadata["versions"]) == (MODEL, ["2", "3"])
        assert metadata["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 4]}]
        with pytest.raises(InferenceServerException, match="API key"):
            await anonymous.call("get_server_metadata")

    async def test_statistics_and_configuration(self, gateway: Gateway, key: str) -> None:
        client, answers = Stock(gateway, key), gateway.neighbours.answers
        entry = {"name": MODEL, "version": "3", "inference_count": 5}
        answers["get_inference_statistics"] = InferenceStatistics(model_stats=[entry])
        answers["get_model_configuration"] = ModelConfiguration(config={"name": MODEL, "max_batch_size": 64})
        for arguments, asked in ((), (None, None)), ((MODEL,), (MODEL, None)), ((MODEL, "3"), (MODEL, 3)):
            assert await client.call("get_inference_statistics", *arguments) == {"model_stats": [entry]}
            body = gateway.neighbours.asked[-1].body
            assert (body["project"], body["model"], body["version"]) == ("default", *asked)
        assert (await client.call("get_model_config", MODEL))["max_batch_size"] == 64
        answers["get_inference_statistics"] = answers["get_model_configuration"] = NotFound("unknown")
        for method in ("get_inference_statistics", "get_model_config"):
            for version in ("", "7"):
                with pytest.raises(InferenceServerException) as caught:
                    await client.call(method, "nothing", version)
                assert caught.value.status() == "404"

    async def test_it_infers_with_json_and_binary_tensors(self, gateway: Gateway, key: str) -> None:
        client = Stock(gateway, key)
        for binary_in, binary_out in product((True, False), (True, False, None)):
            chosen = None if binary_out is None else [triton.InferRequestedOutput("sum", binary_data=binary_out)]
            tensors = [pixels(binary=binary_in)]
            result = await client.call("infer", MODEL, tensors, outputs=chosen, request_id="mine")
            np.testing.assert_array_equal(result.as_numpy("sum"), ROWS.sum(axis=1))
            response = result.get_response()
            assert (response["id"], response["model_name"], response["model_version"]) == ("mine", MODEL, "3")

    async def test_errors_are_its_own_with_our_message(self, gateway: Gateway, key: str) -> None:
        client = Stock(gateway, key)
        for error, status, text in (
            (await Stock(gateway, "").refused(MODEL, pixels()), "401", "API key or access token is needed"),
            (await Stock(gateway, "aim_no").refused(MODEL, pixels()), "401", "unknown or revoked"),
            (await client.refused("nothing", pixels()), "404", "no model 'nothing'"),
            (await client.refused(MODEL, pixels(name="pixel")), "400", "has no input 'pixel'"),
            (await client.refused(MODEL, pixels(ROWS.astype(np.float64))), "400", "FP64"),
            (await client.refused(MODEL, pixels(ROWS.reshape(4, 2))), "400", "[4, 2]"),
            (await client.refused(MODEL, pixels(np.zeros((70000, 4), np.float32))), "413", "1000000"),
        ):
            assert (error.status(), text in error.message()) == (status, True), error

    async def test_a_version_can_be_named(self, gateway: Gateway, key: str) -> None:
        await Stock(gateway, key).call("infer", MODEL, [pixels()], model_version="2")
        assert gateway.neighbours.requests[-1].version == "2"


class TestFrames:
    """What travels with a prediction, and what comes back with it."""

    async def test_identity_deadline_and_trace_travel(self, gateway: Gateway, key: str) -> None:
        headers = bearer(key) | {"X-Request-Timeout-Ms": "2500", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        before = time.time()
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=headers)
        request = gateway.neighbours.requests[-1]
        assert str(uuid.UUID(bytes=request.prediction_id)) == reply.headers["x-prediction-id"]
        assert before + 2.4 < request.deadline / 1000 < time.time() + 2.6
        assert (request.traceparent[3:35], request.credential, request.version) == (TRACE, "key-1", "")
        await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))
        assert len(gateway.neighbours.requests[-1].traceparent) == 55

    async def test_paths_with_and_without_a_last_slash(self, gateway: Gateway, key: str) -> None:
        for path in (
            INFER,
            f"{INFER}/",
            f"/v2/models/{MODEL}/versions/3/infer",
            f"/v2/models/{MODEL}/versions/3/infer/",
        ):
            assert (await gateway.http.post(path, json=DOCUMENT, headers=bearer(key))).status_code == 200
        for path in (
            "/v2",
            "/v2/",
            "/v2/health/live/",
            f"/v2/models/{MODEL}/",
            f"/v2/models/{MODEL}/versions/3/ready/",
        ):
            assert (await gateway.http.get(path, headers=bearer(key))).status_code == 200

    async def test_what_cannot_be_served_is_refused_flat(self, gateway: Gateway, key: str) -> None:
        for path, headers, status in (
            ("/v2/models/a%2Fb/infer", {}, 404),
            ("/v2/models/a.b/infer", {}, 404),
            ("/v2/models/%00/infer", {}, 404),
            ("/v2/models/*/infer", {}, 404),
            (f"/v2/models/{MODEL}/versions/x/infer", {}, 404),
            (INFER, {"X-Request-Timeout-Ms": "soon"}, 400),
            (INFER, {"X-Request-Timeout-Ms": "0"}, 400),
            (INFER, {"X-Request-Timeout-Ms": "99999999999999999999"}, 400),
            (INFER, {"Inference-Header-Content-Length": "9999"}, 400),
            (INFER, {"Inference-Header-Content-Length": "-1"}, 400),
            (INFER, {"Content-Encoding": "gzip"}, 400),
        ):
            reply = await gateway.http.post(path, json=DOCUMENT, headers=bearer(key) | headers)
            assert (path, headers, reply.status_code, list(reply.json())) == (path, headers, status, ["error"])
        assert gateway.neighbours.requests == []

    async def test_every_answer_carries_a_prediction_id(self, gateway: Gateway, key: str) -> None:
        replies = [
            await gateway.http.post(INFER, content=b"{", headers=bearer(key)),
            await gateway.http.post(INFER, json=DOCUMENT),
            await gateway.http.post("/v2/models/nothing/infer", json=DOCUMENT, headers=bearer(key)),
        ]
        assert [reply.status_code for reply in replies] == [400, 401, 404]
        assert len({uuid.UUID(reply.headers["x-prediction-id"]) for reply in replies}) == 3

    async def test_a_viewer_does_not_predict(self, gateway: Gateway) -> None:
        viewer = await gateway.make_key(Role.VIEWER)
        await gateway.becomes(viewer, 200)
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(viewer))
        assert (reply.status_code, "infer" in reply.json()["error"]) == (403, True)


class TestTrouble:
    """Nobody serves, nobody answers, the bus is gone."""

    async def test_a_known_model_that_nobody_serves_is_unavailable(self, gateway: Gateway, key: str) -> None:
        gateway.neighbours.answers["get_model"] = ModelView(name="idle", project="default")
        reply = await gateway.http.post("/v2/models/idle/infer", json=DOCUMENT, headers=bearer(key))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        gateway.neighbours.answers["get_model"] = Unavailable("the database is not reachable")
        reply = await gateway.http.post("/v2/models/idle/infer", json=DOCUMENT, headers=bearer(key))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")

    async def test_metadata_of_what_is_not_served(self, gateway: Gateway, key: str) -> None:
        answers = gateway.neighbours.answers
        answers["get_served_model"] = NotFound("model 'x' is not deployed")
        assert (await gateway.http.get("/v2/models/x", headers=bearer(key))).status_code == 404
        answers["get_model"] = ModelView(name="x", project="default")
        assert (await gateway.http.get("/v2/models/x/ready", headers=bearer(key))).status_code == 503
        answers["get_served_model"] = ServedModel(model="x", ready=False)
        assert (await gateway.http.get("/v2/models/x/ready", headers=bearer(key))).status_code == 503

    async def test_an_error_of_inference_passes_with_its_retry_after(self, gateway: Gateway, key: str) -> None:
        async def refuse(request: frames.Request) -> frames.Reply:
            return frames.Reply(request.prediction_id, 503, b'{"error": "Triton is not reachable"}', retry_after=2)

        gateway.neighbours.infer = refuse
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
        assert reply.json() == {"error": "Triton is not reachable"}

    async def test_no_answer_ends_at_the_deadline(self, gateway: Gateway, key: str) -> None:
        gateway.neighbours.infer = silence
        headers = bearer(key) | {"X-Request-Timeout-Ms": "100"}
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=headers)
        assert (reply.status_code, "0.1 s" in reply.json()["error"]) == (504, True)

    async def test_too_many_at_once_are_refused(self, gateway: Gateway, key: str) -> None:
        gateway.neighbours.infer = silence
        headers = bearer(key) | {"X-Request-Timeout-Ms": "1000"}
        posts = [gateway.http.post(INFER, json=DOCUMENT, headers=headers) for _ in range(6)]
        statuses = sorted(reply.status_code for reply in await asyncio.gather(*posts))
        assert statuses == [503, 503, 504, 504, 504, 504]

    async def test_a_client_that_goes_away_makes_room(self, gateway: Gateway, key: str) -> None:
        gateway.neighbours.infer = silence
        patient = bearer(key) | {"X-Request-Timeout-Ms": "100000"}
        clients = [asyncio.create_task(gateway.http.post(INFER, json=DOCUMENT, headers=patient)) for _ in range(4)]
        await until(lambda: arrived(gateway, 4))
        assert (await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))).status_code == 503
        gateway.neighbours.infer = echo
        for client in clients:
            client.cancel()

        async def predicts() -> bool:
            return (await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))).status_code == 200

        await until(predicts)

    async def test_without_the_bus_it_is_unavailable_at_once_and_recovers(self, gateway: Gateway, key: str) -> None:
        gateway.neighbours.infer = silence
        waiting = asyncio.create_task(gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key)))
        await until(lambda: arrived(gateway, 1))
        gateway.server.kill()
        reply = await waiting
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        reply = await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        gateway.neighbours.infer = echo
        gateway.server.start()

        async def predicts() -> bool:
            return (await gateway.http.post(INFER, json=DOCUMENT, headers=bearer(key))).status_code == 200

        await until(predicts)


async def silence(_: frames.Request) -> None:
    return None


async def arrived(gateway: Gateway, count: int) -> bool:
    return len(gateway.neighbours.requests) >= count


@asynccontextmanager
async def another_process(gateway: Gateway) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A second gateway, as `python -m services.gateway` starts it."""
    port = free_port()
    environment = os.environ | {"GATEWAY_PORT": str(port), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.gateway", env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def answers(client: httpx.AsyncClient, url: str, key: str) -> Callable[[], Any]:
    async def ask() -> bool:
        try:
            return (await client.get(url, headers=bearer(key))).status_code == 200
        except httpx.TransportError:
            return False

    return ask


async def test_it_listens_before_the_bus_is_there(gateway: Gateway, key: str) -> None:
    gateway.server.kill()
    async with another_process(gateway) as (_, url):
        await until(answers(gateway.http, f"{url}/v2/health/live", key))
        reply = await gateway.http.post(url + INFER, json=DOCUMENT, headers=bearer(key))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        gateway.server.start()
        await until(answers(gateway.http, f"{url}/v2", key))


async def test_it_finishes_what_is_in_flight_and_ends(gateway: Gateway, key: str) -> None:
    async def slowly(request: frames.Request) -> frames.Reply:
        await asyncio.sleep(1)
        return await echo(request)

    async with another_process(gateway) as (process, url):
        await until(answers(gateway.http, f"{url}/v2", key))
        gateway.neighbours.infer = slowly
        waiting = asyncio.create_task(gateway.http.post(url + INFER, json=DOCUMENT, headers=bearer(key)))
        events = gateway.http.stream("GET", f"{url}/api/v1/events", headers=bearer(key))
        async with events as stream:
            await until(lambda: arrived(gateway, 1))
            process.send_signal(signal.SIGTERM)
            assert [line async for line in stream.aiter_lines()][0] == ": open"
        assert (await waiting).status_code == 200
        async with asyncio.timeout(60):
            assert await process.wait() == 0
