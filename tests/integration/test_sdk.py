"""The Python client against the real gateway, with neighbours that speak the real contracts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aimass
import numpy as np
import pytest

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from shared.envelope import Envelope
from shared.errors import Conflict, NotFound
from shared.events.training import EpochCompleted
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.auth import ApiKeyCreated
from shared.rpc.monitor import PredictionList, TaskList
from shared.rpc.registry import VersionView
from shared.rpc.tasks import TaskView
from shared.rpc.trainer import TaskAccepted
from shared.streams import log_subject
from tests.integration.gateway_neighbours import Gateway, running_gateway
from tests.integration.running import guarded_bus, until

TASK = f"train-{new_id()}"
MODEL = "digits-cnn"
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
Found = TypeVar("Found")


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    port = free_port()
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            yield started


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[aimass.Client]:
    key = await gateway.make_key()
    await gateway.becomes(key, 200)
    with aimass.Client(gateway.url, key) as client:
        yield client


async def do(call: Callable[..., Found], *arguments: Any, **options: Any) -> Found:
    """The client waits, so it works in a thread of its own."""
    return await asyncio.to_thread(call, *arguments, **options)


def task(state: str) -> TaskView:
    return TaskView(id=TASK, project="default", kind="train", model=MODEL, state=state)


async def test_tasks_are_submitted_listed_and_watched(gateway: Gateway, client: aimass.Client) -> None:
    states = iter(["queued", "running", "succeeded"])
    gateway.neighbours.answers |= {
        "submit_task": TaskAccepted(id=TASK, correlation_id="c"),
        "list_tasks": TaskList(tasks=[task("queued")]),
        "get_task": lambda _: task(next(states)),
    }
    accepted = await do(client.train, MODEL, {"epochs": 1}, key="once")
    assert (accepted["id"], gateway.neighbours.asked[-1].headers["idempotency-key"]) == (TASK, "once")
    assert [found["state"] for found in await do(client.tasks, model=MODEL)] == ["queued"]
    assert gateway.neighbours.asked[-1].body["model"] == MODEL
    seen = await do(lambda: [found["state"] for found in client.watch(TASK, every=0.01)])
    assert seen == ["queued", "running", "succeeded"]


async def test_logs_are_followed_to_the_end(gateway: Gateway, client: aimass.Client) -> None:
    gateway.neighbours.answers["get_task"] = task("succeeded")
    for number in range(3):
        line = json.dumps({"at": 1.0, "stream": "stdout", "line": f"line {number}"}).encode()
        await gateway.connection.jetstream().publish(log_subject("default", TASK), line)
    lines = await do(lambda: [line["line"] for line in client.follow_logs(TASK)])
    assert lines == ["line 0", "line 1", "line 2"]
    assert [line["line"] for line in await do(client.logs, TASK, after=1)] == lines[1:]


async def test_events_are_followed_through_a_gap(gateway: Gateway, client: aimass.Client) -> None:
    chain = new_id()

    async def say(epoch: int) -> None:
        event = EpochCompleted(task_id=TASK, epoch=epoch)
        headers = Envelope(event.type_name(), "trainer", event.aggregate, correlation_id=chain).to_headers()
        body = event.model_dump_json().encode()
        await gateway.connection.jetstream().publish(event.subject("default"), body, headers=headers)

    events = client.follow_events(correlation_id=chain)
    await say(1)
    assert (await do(next, events))["data"]["epoch"] == 1
    await asyncio.to_thread(gateway.server.kill)
    await asyncio.to_thread(gateway.server.start)

    async def is_back() -> bool:
        return gateway.connection.stats["reconnects"] > 0 and gateway.connection.is_connected

    await until(is_back)
    await say(2)
    assert (await do(next, events))["data"]["epoch"] == 2
    await do(events.close)  # type: ignore[attr-defined]


async def test_models_keys_and_predictions(gateway: Gateway, client: aimass.Client) -> None:
    made = ApiKeyCreated(id=new_id(), name="ci", project="default", roles=[Role.VIEWER], prefix="aim_1", secret="s")
    gateway.neighbours.answers |= {
        "set_alias": VersionView(model=MODEL, version=2, digest="0" * 64, aliases=["champion"]),
        "create_api_key": made,
        "list_predictions": PredictionList(),
    }
    assert (await do(client.promote, MODEL, 2, expected=1))["aliases"] == ["champion"]
    assert (await do(client.create_api_key, "ci", ["viewer"]))["secret"] == "s"
    assert await do(client.predictions, MODEL, evaluation=True) == []
    assert gateway.neighbours.asked[-1].body["evaluation"] is True


async def test_predictions_in_json_and_with_arrays(gateway: Gateway, client: aimass.Client) -> None:
    await gateway.neighbours.serve(MODEL)
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [2, 4], "data": ROWS.ravel().tolist()}
    answer = await do(client.infer, MODEL, [tensor])
    assert answer["outputs"][0]["data"] == [6.0, 22.0]
    outputs = await do(client.predict, MODEL, {"pixels": ROWS}, 3, outputs=["sum"])
    np.testing.assert_array_equal(outputs["sum"], ROWS.sum(axis=1))
    assert gateway.neighbours.requests[-1].version == "3"


async def test_a_program_that_awaits_has_the_same_methods(gateway: Gateway) -> None:
    key = await gateway.make_key()
    await gateway.becomes(key, 200)
    await gateway.neighbours.serve(MODEL)
    states = iter(["running", "succeeded", "succeeded"])
    gateway.neighbours.answers |= {
        "submit_task": TaskAccepted(id=TASK, correlation_id="c"),
        "get_task": lambda _: task(next(states)),
        "get_model": NotFound("no such model", field="model"),
    }
    line = json.dumps({"at": 1.0, "stream": "stdout", "line": "said"}).encode()
    await gateway.connection.jetstream().publish(log_subject("default", TASK), line)
    async with aimass.AsyncClient(gateway.url, key) as client:
        me = await client.me()
        assert (me["kind"], me["project"], me["expires_at"]) == ("key", "default", None)
        assert (await client.train(MODEL, {"epochs": 1}))["id"] == TASK
        assert [found["state"] async for found in client.watch(TASK, every=0.01)] == ["running", "succeeded"]
        gateway.neighbours.answers["get_task"] = task("succeeded")
        assert [found["line"] async for found in client.follow_logs(TASK)] == ["said"]
        outputs = await client.predict(MODEL, {"pixels": ROWS})
        np.testing.assert_array_equal(outputs["sum"], ROWS.sum(axis=1))
        with pytest.raises(aimass.NotFound, match="no such model"):
            await client.model("x")


async def test_refusals_are_errors_of_their_kind(gateway: Gateway, client: aimass.Client) -> None:
    answers = gateway.neighbours.answers
    answers |= {"get_model": NotFound("no such model", field="model"), "set_alias": Conflict("it changed")}
    with pytest.raises(aimass.NotFound, match="no such model") as missing:
        await do(client.model, "x")
    assert (missing.value.status, missing.value.field, len(missing.value.trace_id or "")) == (404, "model", 32)
    with pytest.raises(aimass.Conflict):
        await do(client.promote, "x", 1)
    with pytest.raises(aimass.Invalid) as invalid:
        await do(client.model, "A B")
    assert invalid.value.field == "model"
    with pytest.raises(aimass.NotFound, match="no model 'x'"):
        await do(client.infer, "x", [])
    with aimass.Client(gateway.url, "aim_unknown") as stranger, pytest.raises(aimass.Unauthenticated):
        await do(lambda: next(stranger.follow_events()))


async def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    with aimass.Client(f"http://127.0.0.1:{free_port()}", "aim_x") as nobody, pytest.raises(aimass.Unavailable):
        await do(nobody.models)
