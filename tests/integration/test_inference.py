"""Inference on real NATS, PostgreSQL and Triton: stage, switch, answer, drain, recover."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import nats as nats_client
import numpy as np
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from deploy.embedded.testing_servers import NatsServer, TritonServer, triton_server
from deploy.provision import provision_bus_over
from services.inference import store
from services.inference.app import build
from services.inference.engine import Triton
from services.inference.handlers import HANDLERS
from services.inference.reconciler import Reconciler
from services.inference.settings import Settings
from shared import frames, oip
from shared.artifacts import Artifacts
from shared.context import Context
from shared.envelope import Envelope
from shared.errors import NotFound
from shared.events.base import Event
from shared.events.common import Verdict
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import VersionPromoted, VersionRegistered
from shared.names import new_id
from shared.rpc.inference import (
    GetInferenceStatistics,
    GetModelConfiguration,
    GetServedModel,
    ListDeployments,
    StageVersion,
)
from shared.service import Service
from shared.settings import ServiceSettings
from shared.tensors import from_numpy, to_numpy
from tests.integration.onnx_models import Served, affine, doubled
from tests.integration.test_triton import stub_of

SECONDS = 60


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as running:
        yield running


class House:
    """Inference in this process, the bus around it, and the events that it says."""

    def __init__(self, service: Service, connection: Any, artifacts: Artifacts) -> None:
        self.service, self.connection, self.artifacts = service, connection, artifacts
        self.sequence = 0

    async def tell(self, event: Event) -> None:
        self.sequence += 1
        envelope = Envelope(event.type_name(), "test", event.aggregate, sequence=self.sequence)
        body = event.model_dump_json().encode()
        await self.connection.jetstream().publish(event.subject("default"), body, headers=envelope.to_headers())

    async def register(self, model: Served, version: int, name: str = "affine") -> None:
        digest = await self.artifacts.put(model.onnx)
        await self.tell(VersionRegistered(model=name, version=version, digest=digest, signature=model.signature))

    async def said(self, fact: str, count: int = 1) -> list[dict[str, Any]]:
        """The bodies of the last events of a fact, once there are as many."""
        js = self.connection.jetstream()
        async with asyncio.timeout(SECONDS):
            while True:
                info = await js.stream_info("EVT", subjects_filter=f"evt.default.deployment.v1.{fact}")
                if sum((info.state.subjects or {}).values()) >= count:
                    break
                await asyncio.sleep(0.05)
        subscription = await js.subscribe(f"evt.default.deployment.v1.{fact}", ordered_consumer=True)
        found = [json.loads((await subscription.next_msg(timeout=SECONDS)).data) for _ in range(count)]
        await subscription.unsubscribe()
        return found

    async def infer(
        self, version: str = "", seconds: float = SECONDS, name: str = "affine"
    ) -> tuple[frames.Reply, oip.InferReply | None]:
        x = from_numpy("x", np.ones((2, 4), np.float32))
        body, header = oip.encode_request(oip.InferRequest((x,), binary_default=True))
        deadline = int((time.time() + seconds) * 1000)
        request = frames.Request(new_id_bytes(), deadline, body, header, version=version)
        message = await self.connection.request(
            f"infer.default.{name}", frames.encode_requests([request]), timeout=seconds
        )
        reply = frames.decode_replies(message.data)[0]
        return reply, oip.decode_reply(reply.body, reply.header_length) if reply.status == 200 else None


def new_id_bytes() -> bytes:
    return bytes.fromhex(new_id().replace("-", ""))


@pytest.fixture
def lost_seconds() -> float:
    """How long Triton may take for an answer."""
    return 60


@pytest.fixture
def cached_models() -> frozenset[str]:
    """The models of which answers are kept."""
    return frozenset()


@pytest.fixture
def settings(
    triton: TritonServer,
    settings_of: Callable[[str], ServiceSettings],
    lost_seconds: float,
    cached_models: frozenset[str],
) -> Settings:
    return Settings(
        **settings_of("inference").model_dump(),
        **reached(triton),
        node_lease_seconds=5,
        lost_seconds=lost_seconds,
        cached_models=cached_models,
        max_wait_seconds=60,
    )


def reached(triton: TritonServer) -> dict[str, Any]:
    """The settings that say where a Triton is."""
    name, value = triton.access_header
    return {
        "triton_url": triton.http,
        "triton_grpc": triton.grpc,
        "triton_repository": triton.repository,
        "triton_access_header_name": name,
        "triton_access_header_value": SecretStr(value),
    }


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """Inference, ready, until the block ends."""
    service = build(settings)
    task = asyncio.create_task(service.run())
    deadline = time.monotonic() + SECONDS
    while problems := service.readiness.problems():
        assert not task.done(), task
        assert time.monotonic() < deadline, problems
        await asyncio.sleep(0.05)
    yield service
    service.stop()
    await task


@pytest.fixture
async def house(nats: NatsServer, settings: Settings) -> AsyncIterator[House]:
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    async with running(settings) as service:
        connection = await nats_client.connect(nats.url)
        yield House(service, connection, Artifacts(settings.artifacts_url))
        await connection.close()


async def test_stage_switch_answer_and_drain(house: House) -> None:
    await house.register(affine(), 1)
    staged = (await house.said("deployment_staged"))[0]
    assert (staged["version"], staged["triton_name"]) == (1, "default.affine.1")
    reply, _ = await house.infer()
    assert (reply.status, b"no promoted version" in bytes(reply.body)) == (404, True)
    reply, answer = await house.infer(version="1")
    assert answer is not None
    assert answer.model_version == "1"
    assert to_numpy(answer.outputs[0]).shape == (2, 3)

    await house.tell(VersionPromoted(model="affine", version=1, alias="champion"))
    assert (await house.said("traffic_switched"))[0]["previous_version"] is None
    await house.register(affine(), 2)
    await house.said("deployment_staged", 2)
    await house.tell(VersionPromoted(model="affine", version=2, alias="champion"))
    switched = (await house.said("traffic_switched", 2))[-1]
    assert (switched["version"], switched["previous_version"]) == (2, 1)
    assert (await house.said("deployment_unstaged"))[0]["version"] == 1
    reply, answer = await house.infer()
    assert reply.version == "2"

    deployments = await house.service.bus.ask(ListDeployments(), Context())
    assert [(d.version, d.state, d.ready) for d in deployments.deployments] == [
        (2, "serving", True),
        (1, "unstaged", False),
    ]
    served = await house.service.bus.ask(GetServedModel(model="affine"), Context())
    assert (served.ready, served.version, served.versions) == (True, 2, [2])
    await check_triton_documents(house)


async def test_its_loop_may_fail_and_it_answers_by_the_line_over_which_it_was_asked(
    house: House, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for good: over another one the bus forbids an answer to what came over the first."""

    async def lines() -> list[int]:
        async with httpx.AsyncClient() as client:
            found = (await client.get(f"{nats.monitor_url}/connz")).json()["connections"]
        return sorted(each["cid"] for each in found if each.get("name") == "inference")

    await house.register(affine(), 1)
    await house.said("deployment_staged")
    before, failed = await lines(), asyncio.Event()

    async def fail(_: object) -> None:
        monkeypatch.undo()
        failed.set()
        raise RuntimeError("as a bug would")

    monkeypatch.setattr(Reconciler, "turn", fail)
    await failed.wait()
    await house.register(affine(), 2)
    await house.said("deployment_staged", 2)  # by the loop that goes on
    assert (await house.infer(version="2"))[0].status == 200
    assert await lines() == before


async def check_triton_documents(house: House) -> None:
    """Triton's counts and configuration of version 2, under our names, and of nothing else."""
    ask = house.service.bus.ask
    for request in (
        GetInferenceStatistics(),
        GetInferenceStatistics(model="affine"),
        GetInferenceStatistics(model="affine", version=2),
    ):
        (entry,) = (await ask(request, Context())).model_stats
        assert (entry["name"], entry["version"], entry["inference_stats"]["success"]["count"]) == ("affine", "2", 1)
    assert (await ask(GetInferenceStatistics(project="other"), Context())).model_stats == []
    config = (await ask(GetModelConfiguration(model="affine"), Context())).config
    assert (config["name"], config["max_batch_size"], config["input"][0]["name"]) == ("affine", 64, "x")
    assert "default." not in json.dumps(config)
    for unknown in (
        GetInferenceStatistics(model="other"),
        GetInferenceStatistics(model="affine", version=1),
        GetModelConfiguration(model="affine", version=9),
        GetModelConfiguration(project="other", model="affine"),
    ):
        with pytest.raises(NotFound):
            await ask(unknown, Context())


async def test_a_failed_gate_unstages(house: House) -> None:
    await house.register(affine(), 1)
    await house.said("deployment_staged")
    verdict = {"verdict": Verdict.FAILED, "reasons": ("accuracy 0.1 is not >= 0.9",)}
    await house.tell(EvaluationCompleted(evaluation_id="e", model="affine", version=1, **verdict))
    assert "accuracy" in (await house.said("deployment_unstaged"))[0]["reason"]
    reply = await until_gone(house)
    assert reply


async def test_a_version_that_had_to_go_is_staged_again_for_who_asks(house: House) -> None:
    for version in range(1, 5):
        await house.register(affine(), version)
        await house.said("deployment_staged", version)
    assert (await house.said("deployment_unstaged"))[0]["version"] == 1
    await house.service.bus.ask(StageVersion(model="affine", version=1), Context())
    assert (await house.said("deployment_staged", 5))[-1]["version"] == 1
    assert (await house.said("deployment_unstaged", 2))[-1]["version"] == 2
    with pytest.raises(NotFound, match="never deployed"):
        await house.service.bus.ask(StageVersion(model="affine", version=9), Context())


async def until_gone(house: House) -> bool:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await house.infer(version="1")
            except nats_client.errors.NoRespondersError:
                return True
            await asyncio.sleep(0.05)


async def test_a_broken_artifact_fails_with_a_reason(house: House) -> None:
    broken = Served(b"no onnx", affine().signature)
    await house.register(broken, 1)
    failed = (await house.said("deployment_failed"))[0]
    assert failed["version"] == 1
    assert failed["reason"]


async def test_a_killed_triton_comes_back_with_its_champion(house: House, triton: TritonServer) -> None:
    await house.register(affine(), 1)
    await house.tell(VersionPromoted(model="affine", version=1, alias="champion"))
    await house.said("traffic_switched")
    triton.kill()
    async with asyncio.timeout(SECONDS):
        while not house.service.readiness.problems():
            await asyncio.sleep(0.05)
    triton.start()
    difference = (await house.said("deployment_reconciled"))[0]
    assert (difference["expected"], difference["found"], difference["action"]) == ("ready", "missing", "loaded")
    async with asyncio.timeout(SECONDS):
        while house.service.readiness.problems():
            await asyncio.sleep(0.05)
    reply, _ = await house.infer()
    assert reply.status == 200


async def test_predictions_are_logged(house: House) -> None:
    await house.register(affine(), 1)
    await house.said("deployment_staged")
    await house.infer(version="1")
    async with asyncio.timeout(SECONDS):
        while not (await house.connection.jetstream().stream_info("PRED")).state.messages:
            await asyncio.sleep(0.05)
    message = await house.connection.jetstream().get_msg("PRED", 1)
    told = json.loads(message.data)["columns"]
    assert message.subject == "pred.default.affine"
    assert (told["versions"], told["statuses"], told["batches"]) == ([1], [200], [2])


async def test_a_node_leaves_a_model_to_others_that_it_cannot_answer_for(house: House, triton: TritonServer) -> None:
    """The other node is played; what crashes here cannot be loaded again until its artifact is back."""
    first, second = affine(), doubled(-1, 4)
    for version, model in enumerate((first, second), 1):
        await house.register(model, version)
    await house.said("deployment_staged", 2)
    await house.tell(VersionPromoted(model="affine", version=1, alias="champion"))
    await house.said("traffic_switched")
    assert house.service.database is not None
    async with house.service.database.transaction() as tx:
        await store.beat(tx, "other", 60, 0, 0, ["default.affine.1"])
    await house.artifacts.delete(first.digest)
    stub_of(triton, "default.affine.1").kill()
    statuses = []

    async def answer(message: Msg) -> None:
        (asked,) = frames.decode_requests(message.data)
        await message.respond(frames.encode_replies([frames.Reply(asked.prediction_id, 299, b"{}")]))

    await house.connection.subscribe("infer.default.affine", queue="inference", cb=answer)
    async with asyncio.timeout(SECONDS):
        while statuses[-20:] != [299] * 20:
            statuses.append((await house.infer())[0].status)
    await house.artifacts.put(first.onnx)
    async with asyncio.timeout(SECONDS):
        while (await house.infer())[0].status != 200:
            await asyncio.sleep(0.05)


async def test_a_node_lives_on_while_it_loads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise others would switch to a version that it does not hold, and end one with which it answers."""
    going, load = asyncio.Event(), Triton.load

    async def held_up(self: Triton, name: str) -> None:
        await going.wait()
        await load(self, name)

    monkeypatch.setattr(Triton, "load", held_up)
    await house.register(affine(), 1)
    assert house.service.database is not None
    async with house.service.database.connection() as connection:
        first = await connection.fetchval("SELECT max(lease_until) FROM nodes")
        async with asyncio.timeout(SECONDS):
            while not await connection.fetchval("SELECT now() > $1::timestamptz + interval '2 s'", first):
                await asyncio.sleep(0.1)
        assert await connection.fetchval("SELECT count(*) FROM nodes WHERE lease_until > now()") == 1
    going.set()
    assert (await house.said("deployment_staged"))[0]["version"] == 1
