"""Cause and effect in monitor: from any id of a run the same tree; what is another project's is not found."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.monitor.handlers import HANDLERS
from shared.errors import NotFound
from shared.events.base import Event
from shared.events.common import TaskState
from shared.events.deployment import DeploymentStaged, TrafficSwitched
from shared.events.evaluation import EvaluationCompleted, EvaluationRequested
from shared.events.models import VersionPromoted, VersionRegistered
from shared.events.predictions import Prediction, PredictionsLogged
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted, TrainingCompleted, TrainingRequested
from shared.names import new_id
from shared.rpc.monitor import GetTrace, Trace, TraceNode
from tests.integration.running import Ask, Running, asking, guarded_bus

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)  # not so old that it is deleted
TRAIN, EVALUATE, CHAIN, PREDICTION = f"train-{new_id()}", f"evaluate-{new_id()}", new_id(), new_id()
CNN: dict[str, Any] = {"model": "cnn", "version": 3}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer, monitor: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


def changed(task_id: str, kind: str, state: TaskState) -> TaskChanged:
    return TaskChanged(task_id=task_id, kind=kind, service="s", model="cnn", state=state, created_at=START)


async def ran(monitor: Running) -> dict[str, str]:
    """A training whose version is evaluated, promoted and asked; the ids of the events by their types."""
    ids: dict[str, str] = {}

    async def said(event: Event, cause: str = "") -> None:
        time = (START + timedelta(seconds=len(ids))).isoformat()
        given = {"correlation_id": CHAIN, "causation_id": ids.get(cause, ""), "time": time, "sequence": len(ids)}
        ids[type(event).__name__ + ("2" if type(event).__name__ in ids else "")] = (
            await monitor.publish(event, **given)
        ).id

    await said(TrainingRequested(task_id=TRAIN, model="cnn"))
    await said(changed(TRAIN, "train", TaskState.SUCCEEDED))
    for epoch in range(5):
        ids[f"e{epoch}"] = ""
        await said(EpochCompleted(task_id=TRAIN, epoch=epoch))
    await said(TrainingCompleted(task_id=TRAIN, model="cnn"))
    await said(VersionRegistered(**CNN, task_id=TRAIN), "TrainingCompleted")
    await said(DeploymentStaged(**CNN), "VersionRegistered")
    await said(EvaluationRequested(evaluation_id=EVALUATE, **CNN), "DeploymentStaged")
    await said(EvaluationCompleted(evaluation_id=EVALUATE, **CNN), "DeploymentStaged")
    await said(VersionPromoted(**CNN, alias="champion"), "EvaluationCompleted")
    await said(TrafficSwitched(**CNN), "VersionPromoted")
    answered = Prediction(prediction_id=PREDICTION, version=3, status=200, latency_us=900, at=START)
    failed = Prediction(prediction_id=new_id(), version=3, status=500, at=START)
    logged = PredictionsLogged(model="cnn", node="n", rows=(answered, failed))
    await monitor.publish(logged, to="pred.default.cnn")
    await monitor.settled()
    return ids


def told(found: Trace) -> list[str]:
    return [f"{'  ' * node.depth}{node.kind if node.kind != 'event' else node.name}" for node in found.nodes]


TREE = [
    "task",
    "  TrainingRequested",
    "  EpochCompleted",
    "  TrainingCompleted",
    "    VersionRegistered",
    "      version",
    "      DeploymentStaged",
    "        task",
    "          EvaluationRequested",
    "          EvaluationCompleted",
    "            VersionPromoted",
    "              TrafficSwitched",
    "                predictions",
]


async def test_from_any_id_the_same_tree(monitor: Running, ask: Ask) -> None:
    ids = await ran(monitor)
    for name in (CHAIN, TRAIN, EVALUATE, ids["TrainingCompleted"], "cnn/3", "cnn@3", "models/cnn/3", "default.cnn.3"):
        found: Trace = await ask(GetTrace(of=name))
        shown = [line for line in told(found) if line.strip() != "TaskChanged"]
        assert (name, shown) == (name, TREE)
    asked: Trace = await ask(GetTrace(of=PREDICTION))
    assert [line for line in told(asked) if line.strip() != "TaskChanged"] == [*TREE, "                  prediction"]
    assert [node.id for node in asked.nodes if node.asked] == [PREDICTION]


async def test_nodes_tell_times_counts_and_states(monitor: Running, ask: Ask) -> None:
    await ran(monitor)
    found: Trace = await ask(GetTrace(of=TRAIN))

    def node(kind: str, name: str = "") -> TraceNode:
        return next(node for node in found.nodes if node.kind == kind and name in node.name)

    assert (node("task").state, node("task").asked, node("task").at) == ("succeeded", True, START)
    assert (node("event", "Epoch").count, node("predictions").count) == (5, 2)
    assert node("predictions").facts == {"errors": 1}
    assert node("event", "Promoted").facts == {"model": "cnn", "version": 3, "alias": "champion"}
    assert node("version").parent == node("event", "VersionRegistered").id


async def test_what_is_not_there_or_of_others_is_not_found(monitor: Running, ask: Ask) -> None:
    await ran(monitor)
    for name, project in ((TRAIN, "other"), (PREDICTION, "other"), ("cnn/3", "other"), ("cnn/4", "default"), ("x", "")):
        with pytest.raises(NotFound):
            await ask(GetTrace(of=name), project=project or "default")


async def test_the_newest_are_left_out_of_what_is_too_large(monitor: Running, ask: Ask) -> None:
    await ran(monitor)
    found: Trace = await ask(GetTrace(of=TRAIN, limit=2))
    assert found.truncated
    assert told(found)[:2] == TREE[:2]
