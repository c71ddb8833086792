"""monitor on a real PostgreSQL and a real NATS that knows its allow-lists."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.monitor.engine import Host
from services.monitor.handlers import HANDLERS
from services.monitor.retention import Retention
from services.monitor.settings import Settings
from shared.events.bus import AuditAdvanced
from shared.events.common import TaskState
from shared.events.evaluation import EvaluationCompleted
from shared.events.predictions import Prediction, PredictionsLogged
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted, TrainingCompleted, TrainingRequested
from shared.names import new_id
from shared.rpc.monitor import (
    GetHostMetrics,
    GetPredictionStatistics,
    GetTimeline,
    HostMetrics,
    ListPredictions,
    ListTasks,
    PredictionList,
    Timeline,
)
from shared.settings import ServiceSettings
from tests.integration.running import Ask, Running, asking, guarded_bus

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)  # not so old that it is deleted


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer, monitor: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


def task(number: int, state: TaskState, **given: Any) -> TaskChanged:
    fields = {
        "task_id": f"train-{number}",
        "kind": "train",
        "service": "trainer",
        "model": "cnn",
        "state": state,
        "created_at": START + timedelta(minutes=number),
        "actor": "ada",
        "parameters": {"epochs": 3},
    }
    return TaskChanged.model_validate(fields | given)


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


async def test_every_event_reaches_the_timeline_once(monitor: Running, ask: Ask) -> None:
    kinds = [kind for kind in HANDLERS.events if kind.stream == "EVT"]
    for kind in kinds:
        event = kind.model_validate({kind.about: "x"})
        sent = await monitor.publish(event, correlation_id="chain", sequence=7)
        await monitor.publish(event, correlation_id="chain", sequence=7, id=sent.id)
    await monitor.settled()
    found: Timeline = await ask(GetTimeline(correlation_id="chain"))
    told = (kind.type_name() for kind in kinds if kind is not AuditAdvanced)  # which the audit itself has
    assert sorted(entry.type for entry in found.events) == sorted(told)
    assert {entry.sequence for entry in found.events} == {7}
    assert not found.truncated
    assert await monitor.dead_letters() == 0


async def test_a_chain_is_told_in_order_with_its_data(monitor: Running, ask: Ask) -> None:
    requested = TrainingRequested(task_id="t", model="cnn", seed=4)
    first = await monitor.publish(requested, correlation_id="c", time=at(9), subject="training/t")
    later = {"correlation_id": "c", "causation_id": first.id}
    await monitor.publish(EpochCompleted(task_id="t", metrics={"loss": float("nan")}), time=at(3), sequence=3, **later)
    await monitor.publish(EpochCompleted(task_id="t", epoch=1), time=at(2), sequence=2, **later)
    await monitor.publish(TrainingCompleted(task_id="t"), correlation_id="another")
    await monitor.publish(TrainingCompleted(task_id="t"), correlation_id="c", project="other")
    await monitor.settled()
    found: Timeline = await ask(GetTimeline(correlation_id="c"))
    assert [entry.sequence for entry in found.events] == [0, 2, 3]  # the cause first, though its clock is ahead
    assert (found.events[0].subject, found.events[0].source) == ("training/t", "test")
    assert found.events[0].data | {"model": "cnn", "seed": 4} == found.events[0].data
    assert found.events[2].data["metrics"] == {"loss": "NaN"}
    assert found.events[1].causation_id == first.id


async def test_an_event_without_a_correlation_id_is_a_chain_of_its_own(monitor: Running, ask: Ask) -> None:
    sent = await monitor.publish(TrainingRequested(task_id="t"), time="")
    await monitor.publish(TrainingRequested(task_id="t"), time="yesterday")
    await monitor.settled()
    found: Timeline = await ask(GetTimeline(correlation_id=sent.id))
    assert [entry.id for entry in found.events] == [sent.id]
    assert await monitor.dead_letters() == 1


async def test_progress_within_a_state_is_shown_on_request(monitor: Running, ask: Ask) -> None:
    states = [TaskState.QUEUED, TaskState.RUNNING, TaskState.RUNNING, TaskState.RUNNING, TaskState.SUCCEEDED]
    for number, state in enumerate(states):
        await monitor.publish(task(1, state), correlation_id="c", sequence=number, time=at(number))
    await monitor.settled()
    brief: Timeline = await ask(GetTimeline(correlation_id="c"))
    assert [entry.sequence for entry in brief.events] == [0, 1, 4]
    full: Timeline = await ask(GetTimeline(correlation_id="c", progress=True))
    assert [entry.sequence for entry in full.events] == [0, 1, 2, 3, 4]
    few: Timeline = await ask(GetTimeline(correlation_id="c", limit=2))
    assert ([entry.sequence for entry in few.events], few.truncated) == ([0, 1], True)


async def test_a_chain_too_large_for_a_message_is_cut(monitor: Running, ask: Ask) -> None:
    report = {"matrix": "x" * 300_000}
    for number in range(4):
        await monitor.publish(EvaluationCompleted(report=report), correlation_id="c", time=at(number), sequence=number)
    await monitor.settled()
    found: Timeline = await ask(GetTimeline(correlation_id="c"))
    assert ([entry.sequence for entry in found.events], found.truncated) == ([0, 1], True)


async def test_older_states_of_a_task_change_nothing(monitor: Running, ask: Ask) -> None:
    run = [
        (1, task(1, TaskState.QUEUED)),
        (2, task(1, TaskState.RUNNING, progress=0.5, seconds_left=9, attempt=1)),
        (3, task(1, TaskState.SUCCEEDED, progress=1, attempt=1, result={"version": 1}, ended_at=START)),
    ]
    random.Random(1).shuffle(run)
    for sequence, event in run * 2:
        await monitor.publish(event, sequence=sequence, correlation_id="c")
    await monitor.settled()
    tasks = (await ask(ListTasks())).tasks
    assert [(found.id, found.state, found.progress, found.result) for found in tasks] == [
        ("train-1", "succeeded", 1, {"version": 1})
    ]
    assert (tasks[0].correlation_id, tasks[0].actor, tasks[0].parameters) == ("c", "ada", {"epochs": 3})
    assert (tasks[0].ended_at, tasks[0].seconds_left) == (START, None)


async def test_tasks_of_all_services_are_listed_newest_first(monitor: Running, ask: Ask) -> None:
    await monitor.publish(task(1, TaskState.RUNNING), sequence=1)
    await monitor.publish(task(2, TaskState.FAILED, error_class="ValueError", error_message="bad"), sequence=1)
    evaluate = {"task_id": "evaluate-3", "kind": "evaluate", "service": "evaluator", "model": "mlp"}
    await monitor.publish(task(3, TaskState.RUNNING, **evaluate), sequence=1, source="evaluator")
    await monitor.publish(task(4, TaskState.RUNNING), sequence=1, project="other")
    await monitor.settled()

    async def listed(**filters: Any) -> list[str]:
        return [found.id for found in (await ask(ListTasks(**filters))).tasks]

    assert await listed() == ["evaluate-3", "train-2", "train-1"]
    assert await listed(kind="train") == ["train-2", "train-1"]
    assert await listed(state="running") == ["evaluate-3", "train-1"]
    assert await listed(model="mlp", state="failed") == []
    assert await listed(limit=1) == ["evaluate-3"]
    first = await ask(ListTasks(limit=3))
    assert (len(first.tasks), first.next) == (3, "")
    failed = (await ask(ListTasks(state="failed"))).tasks[0]
    assert (failed.error_class, failed.error_message) == ("ValueError", "bad")


async def test_a_list_of_tasks_goes_on_at_its_cursor_whatever_changes_meanwhile(monitor: Running, ask: Ask) -> None:
    ids = [f"train-{new_id()}" for _ in range(5)]
    made = {found: TaskChanged(task_id=found, state=TaskState.RUNNING, created_at=START) for found in ids}
    for event in made.values():
        await monitor.publish(event, sequence=1)
    await monitor.settled()
    seen, cursor = [], ""
    while page := await ask(ListTasks(limit=2, cursor=cursor)):
        seen += [found.id for found in page.tasks]
        last = made[page.tasks[-1].id].model_copy(update={"state": TaskState.SUCCEEDED})
        await monitor.publish(last, sequence=2)
        await monitor.publish(TaskChanged(task_id=f"train-{new_id()}", state=TaskState.RUNNING), sequence=1)
        await monitor.settled()
        if not (cursor := page.next):
            break
    assert seen == sorted(ids, reverse=True)


def logged(*ids: str, model: str = "cnn", dropped: int = 0, **given: Any) -> PredictionsLogged:
    fields = {"version": 1, "status": 200, "latency_us": 1500, "batch": 2, "at": datetime.now(UTC)} | given
    rows = tuple(Prediction.model_validate(fields | {"prediction_id": found}) for found in ids)
    return PredictionsLogged(model=model, node="n1", rows=rows, dropped=dropped)


async def log(monitor: Running, event: PredictionsLogged, **envelope: Any) -> None:
    await monitor.publish(event, to=f"pred.default.{event.model}", **envelope)


async def test_predictions_are_kept_once_and_losses_counted(monitor: Running, ask: Ask) -> None:
    await log(monitor, logged("p1", at=START))
    again = new_id()
    await log(monitor, logged("p2", "p3", dropped=4), id=again)
    await log(monitor, logged("p2", "p3", dropped=4), id=again)
    await monitor.settled()
    await log(monitor, logged("p4", evaluation=True, dropped=6))
    await monitor.settled()
    await log(monitor, logged(dropped=1))  # the node began anew
    await log(monitor, logged("p5", model="mlp", version=2, status=503, key_id="k", trace_id="abc"))
    await monitor.settled()
    found: PredictionList = await ask(ListPredictions())
    assert {view.id for view in found.predictions} == {"p1", "p2", "p3", "p5"}
    assert found.predictions[0].id == "p5"
    assert found.dropped == 7
    assert {view.id for view in (await ask(ListPredictions(evaluation=True, model="cnn"))).predictions} == {
        "p1",
        "p2",
        "p3",
        "p4",
    }
    one: PredictionList = await ask(ListPredictions(prediction_id="p4"))
    assert [(view.evaluation, view.latency_ms, view.batch) for view in one.predictions] == [(True, 1.5, 2)]
    mlp = await ask(ListPredictions(model="mlp"))
    assert [(view.version, view.status, view.key_id, view.trace_id) for view in mlp.predictions] == [
        (2, 503, "k", "abc")
    ]
    assert mlp.dropped == 0
    assert await monitor.dead_letters() == 0


async def test_the_newest_are_found_in_whatever_blocks_they_lie(monitor: Running, ask: Ask) -> None:
    drawn, kept = random.Random(7), []
    for _ in range(40):
        begun, model, tagged = START + timedelta(seconds=drawn.randrange(60)), drawn.choice("ab"), drawn.random() < 0.3
        rows = tuple(
            Prediction(prediction_id=new_id(), version=1, evaluation=tagged, at=begun + timedelta(seconds=place))
            for place in range(drawn.randrange(1, 12))
        )
        kept += [(row.at, model, tagged, row.prediction_id) for row in rows]
        await log(monitor, PredictionsLogged(model=model, node="n", rows=rows))
    await monitor.settled()
    for model, tagged, limit in itertools.product((None, "a", "b"), (False, True), (1, 5, 30, 1000)):
        times = sorted((row[0] for row in kept if model in (None, row[1]) and tagged >= row[2]), reverse=True)
        found: PredictionList = await ask(ListPredictions(model=model, evaluation=tagged, limit=limit))
        assert [view.at for view in found.predictions] == times[:limit]
    for at, model, tagged, name in drawn.sample(kept, 20):
        one: PredictionList = await ask(ListPredictions(prediction_id=name))
        assert [(view.at, view.model, view.evaluation) for view in one.predictions] == [(at, model, tagged)]
        assert (await ask(ListPredictions(prediction_id=name, model="c"))).predictions == []


async def test_a_prediction_without_an_id_is_a_dead_letter(monitor: Running, ask: Ask) -> None:
    await log(monitor, logged("p1", ""))
    await log(monitor, logged("p2", version=2**40))
    await monitor.settled()
    assert await monitor.dead_letters() == 2
    assert (await ask(ListPredictions())).predictions == []


async def test_statistics_summarise_by_version(monitor: Running, ask: Ask) -> None:
    for number in range(1, 101):
        status = 500 if number > 98 else 200
        await log(monitor, logged(f"p{number}", latency_us=number * 1000, status=status))
    await log(monitor, logged("q", version=2, latency_us=500), id=new_id())
    await log(monitor, logged("tagged", evaluation=True))
    await log(monitor, logged("old", at=START))
    await monitor.settled()
    newest, older = (await ask(GetPredictionStatistics(model="cnn"))).versions
    assert (newest.version, newest.count, newest.errors, newest.p99_ms) == (2, 1, 0, 0.5)
    assert (older.version, older.count, older.errors) == (1, 100, 2)
    assert (older.p50_ms, older.p95_ms, older.p99_ms) == (50.5, 95.05, 99.01)
    assert (await ask(GetPredictionStatistics(model="none"))).versions == []


async def test_what_is_old_goes(monitor: Running, ask: Ask, settings_of: Callable[[str], ServiceSettings]) -> None:
    now = datetime.now(UTC)
    for days in (1, 8):
        await log(monitor, logged(f"p{days}", at=now - timedelta(days=days)))
    for days in (1, 8, 31):
        time = (now - timedelta(days=days)).isoformat()
        await monitor.publish(TrainingRequested(task_id="t"), correlation_id="c", time=time, sequence=days)
    await monitor.settled()
    assert monitor.service.database is not None
    await Retention(monitor.service.database, Settings(**settings_of("monitor").model_dump())).prune()
    assert [view.id for view in (await ask(ListPredictions())).predictions] == ["p1"]
    assert [entry.sequence for entry in (await ask(GetTimeline(correlation_id="c"))).events] == [8, 1]


async def test_the_host_is_known_from_memory(ask: Ask) -> None:
    found: HostMetrics = await ask(GetHostMetrics())
    assert 0 < found.memory_used < found.memory_total
    assert found.cpu_count >= 1
    assert min(found.load_1m, found.load_5m, found.load_15m) >= 0
    assert 0 < found.disk_used < found.disk_total
    assert min(found.disk_read_per_second, found.disk_written_per_second) >= 0
    assert min(found.network_received_per_second, found.network_sent_per_second) >= 0
    assert all(gpu.name and gpu.memory_total for gpu in found.gpus)


async def test_the_host_is_sampled_again_and_again() -> None:
    host = Host(0.01)
    first = host.metrics.at
    sampling = asyncio.create_task(host.run())
    async with asyncio.timeout(60):
        while host.metrics.at == first:
            await asyncio.sleep(0.01)
    sampling.cancel()
