"""The list of tasks says when those that wait begin and end: by the real desk's order and by what their like took."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.monitor.handlers import HANDLERS
from shared.events.common import TaskState
from shared.events.tasks import TaskChanged
from shared.names import new_id
from shared.rpc.monitor import GetForecast, ListTasks
from shared.rpc.tasks import TaskView
from shared.rpc.trainer import AskAdmission, Wish
from shared.settings import ServiceSettings
from shared.tasks.terms import Resources
from tests.integration.running import Ask, Running, asking, guarded_bus, until
from tests.integration.trainer_desk import answering_desk

CORE = Resources(cores=1, memory=0)
TOOK = 100.0


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer, monitor: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


def task(state: TaskState, model: str = "cnn", **given: Any) -> TaskChanged:
    facts = {"task_id": f"train-{new_id()}", "kind": "train", "service": "trainer", "model": model, "state": state}
    return TaskChanged.model_validate(facts | {"created_at": datetime.now(UTC), "parameters": {"epochs": 3}} | given)


def ended() -> TaskChanged:
    begun = datetime.now(UTC) - timedelta(hours=1)
    return task(TaskState.SUCCEEDED, started_at=begun, ended_at=begun + timedelta(seconds=TOOK))


def wish(told: TaskChanged) -> Wish:
    assert told.created_at is not None
    return Wish(task_id=told.task_id, project="default", created_at=told.created_at, needs=CORE)


async def estimated(ask: Ask, told: TaskChanged) -> TaskView | None:
    tasks = {found.id: found for found in (await ask(ListTasks())).tasks}
    found: TaskView | None = tasks.get(told.task_id)
    return found if found and found.estimated_start else None


def seconds_to(moment: datetime | None, now: datetime) -> float:
    assert moment is not None
    return (moment - now).total_seconds()


async def test_what_waits_begins_when_what_runs_before_it_ends(
    monitor: Running, ask: Ask, nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> None:
    runs = task(TaskState.RUNNING, started_at=datetime.now(UTC), seconds_left=50.0)
    first, second, unlike = task(TaskState.QUEUED), task(TaskState.QUEUED), task(TaskState.QUEUED, "other")
    after = task(TaskState.QUEUED, waits_for=(first.task_id,))
    for told in (ended(), runs, first, second, unlike, after):
        await monitor.publish(told, sequence=1)
    await monitor.settled()
    async with answering_desk(settings_of, nats):
        node = {"owner": "a", "node": "n", "capacity": CORE, "lease_seconds": 60}
        wishes = [wish(first), wish(second), wish(unlike)]

        async def look() -> TaskView | None:
            order = AskAdmission(**node, held=[wish(runs)], waiting=wishes)
            assert (await ask(order, service="trainer")).admitted == []
            return await estimated(ask, second)

        last = await until(look)
        now = datetime.now(UTC)
        assert seconds_to(last.estimated_start, now) == pytest.approx(50 + TOOK, abs=30)
        assert last.estimated_end - last.estimated_start == timedelta(seconds=TOOK)
        before = await estimated(ask, first)
        assert before and before.estimated_end == last.estimated_start
        held_up = await estimated(ask, after)
        assert held_up and held_up.estimated_start == before.estimated_end
        other = await estimated(ask, unlike)
        assert other and other.estimated_start == last.estimated_end and other.estimated_end is None
        forecast = await ask(GetForecast(task_id=first.task_id))
        assert (forecast.estimated_start, forecast.estimated_end) == (before.estimated_start, before.estimated_end)
        hidden = await ask(GetForecast(task_id=first.task_id), project="red")
        assert hidden.estimated_start is hidden.estimated_end is None


async def test_without_the_desk_only_the_end_of_what_runs_is_told(monitor: Running, ask: Ask) -> None:
    runs, waits = task(TaskState.RUNNING, started_at=datetime.now(UTC), seconds_left=50.0), task(TaskState.QUEUED)
    for told in (ended(), runs, waits):
        await monitor.publish(told, sequence=1)
    await monitor.settled()
    tasks = {found.id: found for found in (await ask(ListTasks())).tasks}
    assert tasks[runs.task_id].estimated_end is not None
    assert tasks[waits.task_id].estimated_start is tasks[waits.task_id].estimated_end is None
