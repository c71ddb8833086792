"""Memory and instances of models, from a stock client through the gateway to a real Triton."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aimass
import httpx
import nats as nats_client
import numpy as np
import pytest
import tritonclient.http as tritonclient
from onnx import helper

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import NatsServer, TritonServer
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS as GATEWAY
from services.inference.handlers import HANDLERS
from services.inference.resources.domain import MIB
from services.inference.settings import Settings
from shared.artifacts import Artifacts
from shared.events.models import VersionPromoted
from shared.settings import ServiceSettings
from tests.integration.gateway_neighbours import ASKED_OF, Gateway, bearer, running_gateway
from tests.integration.onnx_models import Served, served, slow, spec
from tests.integration.running import until
from tests.integration.test_inference import House, reached, triton
from tests.integration.test_inference import running as running_inference

__all__ = ["triton"]

MODELS = {"twice": 2.0, "thrice": 3.0, "fourfold": 4.0}
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
Inference = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
async def gateway(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    port = free_port()
    monkeypatch.setenv("GATEWAY_NATS_URL", nats.servers)
    monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
    monkeypatch.setenv("GATEWAY_PORT", str(port))
    await provision_bus_over(nats.url, [GATEWAY.declaration, HANDLERS.declaration])
    async with running_gateway(nats, f"http://127.0.0.1:{port}", set(ASKED_OF) - {"inference"}) as started:
        key = await started.make_key()
        await started.becomes(key, 200)
        started.http.headers.update(bearer(key))
        yield started


@pytest.fixture
def inference(nats: NatsServer, triton: TritonServer, settings_of: Callable[[str], ServiceSettings]) -> Inference:
    @asynccontextmanager
    async def start(**more: Any) -> AsyncIterator[House]:
        base = settings_of("inference").model_dump()
        settings = Settings(**base, **reached(triton), node_lease_seconds=5, max_wait_seconds=60, **more)
        async with running_inference(settings) as service:
            connection = await nats_client.connect(nats.url)
            yield House(service, connection, Artifacts(settings.artifacts_url))
            await connection.close()

    return start


def times(factor: float) -> Served:
    return served(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [spec("x", "FP32", -1, 4)],
        [spec("y", "FP32", -1, 4)],
        factor=np.array([factor], np.float32),
    )


async def serve(house: House, models: dict[str, Served]) -> None:
    for name, model in models.items():
        await house.register(model, 1, name)
    await house.said("deployment_staged", len(models))
    for name in models:
        await house.tell(VersionPromoted(model=name, version=1, alias="champion"))
    await house.said("traffic_switched", len(models))


async def ask(gateway: Gateway, model: str) -> None:
    """The stock client gets the right answer."""

    def run() -> Any:
        tensor = tritonclient.InferInput("x", list(ROWS.shape), "FP32")
        tensor.set_data_from_numpy(ROWS)
        with tritonclient.InferenceServerClient(gateway.url.removeprefix("http://"), network_timeout=60) as client:
            assert client.is_model_ready(model, headers=dict(gateway.http.headers))
            return client.infer(model, [tensor], headers=dict(gateway.http.headers)).as_numpy("y")

    np.testing.assert_array_equal(await asyncio.to_thread(run), ROWS * MODELS[model])


async def post(gateway: Gateway, model: str, rows: list[list[float]]) -> httpx.Response:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": rows}
    return await gateway.http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})


async def want(gateway: Gateway, model: str, **wanted: Any) -> httpx.Response:
    return await gateway.http.put(f"/api/v1/models/{model}/resources", json=wanted)


async def given(gateway: Gateway, model: str) -> dict[str, Any]:
    reply = await gateway.http.get(f"/api/v1/models/{model}/resources")
    (found,) = reply.json()["given"]
    return dict(found)


async def becomes(gateway: Gateway, model: str, **facts: Any) -> None:
    async def is_so() -> bool:
        return facts.items() <= (await given(gateway, model)).items()

    await until(is_so)


async def parked(gateway: Gateway) -> set[str]:
    return {name for name in MODELS if (await given(gateway, name))["state"] == "parked"}


async def test_instances_follow_demand(gateway: Gateway, inference: Inference) -> None:
    times_ = {"scale_up_seconds": 0.5, "scale_wait_seconds": 0.05, "scale_down_seconds": 1}
    async with inference(**times_) as house:
        await serve(house, {"slow": slow(300, 60)})
        for bad, field in (
            ({"instances_min": 3, "instances_max": 2}, "instances_min"),
            ({"instances_max": 9}, "instances_max"),
            ({"instances_min": -1}, "instances_min"),
        ):
            reply = await want(gateway, "slow", **bad)
            assert (reply.status_code, field in reply.text) == (422, True)
        assert (await want(gateway, "unknown")).status_code == 404
        assert (await asyncio.to_thread(wanted_by_client, gateway))["instances_max"] == 2
        calling = [asyncio.create_task(call(gateway)) for _ in range(6)]
        await becomes(gateway, "slow", instances=2)
        await asyncio.sleep(0.5)
        for each in calling:
            each.cancel()
        ended = await asyncio.gather(*calling, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        await becomes(gateway, "slow", instances=1)
        up, down = await house.said("instances_changed", 2)
        assert [(up["previous"], up["instances"]), (down["previous"], down["instances"])] == [(1, 2), (2, 1)]
        assert "for 0.5 s" in up["reason"]
        assert "calm" in down["reason"]
        (changed,) = await house.said("resources_changed")
        assert changed["instances_max"] == 2


def wanted_by_client(gateway: Gateway) -> aimass.types.Resources:
    with aimass.Client(gateway.url, gateway.http.headers["Authorization"].split()[1]) as client:
        client.set_resources("slow", instances_max=2)
        return client.resources("slow")


async def call(gateway: Gateway) -> None:
    """One request after the other, all answered."""
    while True:
        reply = await post(gateway, "slow", [[1.0]])
        assert reply.status_code == 200, reply.text


async def test_more_models_are_served_than_memory_holds(gateway: Gateway, inference: Inference) -> None:
    async with inference() as house:
        await serve(house, {name: times(factor) for name, factor in MODELS.items()})
        sizes = [(await given(gateway, name))["memory_bytes"] for name in MODELS]
        assert (await given(gateway, "twice"))["measured"]
        assert min(sizes) > 20 * MIB
        assert (await want(gateway, "fourfold", pinned=True)).status_code == 200
    budget = int(sum(sizes) * 0.85) // MIB
    async with inference(memory_mb=budget, idle_seconds=0) as house:
        await house.said("version_parked")
        await until(lambda: _one_is(gateway))
        assert house.service.readiness.problems() == {}
        for name in MODELS:
            await ask(gateway, name)
        await check_events(house, budget)
        await check_one_load_for_many(gateway, house)
        await check_no_room(gateway)


async def _one_is(gateway: Gateway) -> bool:
    return len(await parked(gateway)) == 1


async def check_events(house: House, budget: int) -> None:
    """At the start one had to go, and came back when another one went for it."""
    gone, back = await house.said("version_parked", 2), await house.said("version_restored")
    assert {each["model"] for each in gone} == {"twice", "thrice"}
    assert back[0]["model"] == gone[0]["model"]
    assert f"within {budget} MiB" in gone[-1]["reason"]
    assert "to make room for default." in gone[-1]["reason"]
    assert int(gone[-1]["memory_bytes"]) > 0 < back[-1]["seconds"]
    assert back[-1]["reason"].endswith(": 1")


async def check_one_load_for_many(gateway: Gateway, house: House) -> None:
    (cold,) = await parked(gateway)
    before = await count(house, "version_restored")
    replies = await asyncio.gather(*(post(gateway, cold, [[float(n)] * 4]) for n in range(12)))
    answers = [reply.json()["outputs"][0]["data"] for reply in replies]
    assert answers == [[n * MODELS[cold]] * 4 for n in range(12)]
    await house.said("version_restored", before + 1)
    assert await count(house, "version_restored") == before + 1


async def count(house: House, fact: str) -> int:
    info = await house.connection.jetstream().stream_info("EVT", subjects_filter=f"evt.default.deployment.v1.{fact}")
    return sum((info.state.subjects or {}).values())


async def check_no_room(gateway: Gateway) -> None:
    """What is pinned comes back unasked; with all that is in memory pinned there is nothing to wait for."""
    await until(lambda: _one_is(gateway))
    (pinned,) = await parked(gateway)
    (cold,) = MODELS.keys() - {pinned, "fourfold"}
    assert (await want(gateway, pinned, pinned=True)).status_code == 200
    await becomes(gateway, cold, state="parked")
    await becomes(gateway, pinned, state="resident")
    reply = await post(gateway, cold, ROWS.tolist())
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0
    assert "pinned" in reply.json()["error"]
    await ask(gateway, pinned)
