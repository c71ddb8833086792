"""Schedules on real servers: trainings by the clock and by events, each once, and left out while one goes on."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from shared.errors import InvalidInput, NotFound
from shared.events.models import VersionPromoted
from shared.events.training import TrainingRequested
from shared.rpc.tasks import CancelTask
from shared.rpc.trainer import DeleteSchedule, GetSchedule, ListSchedules, PutSchedule, ScheduleView, SubmitTask
from shared.settings import ServiceSettings
from shared.tasks.terms import Resources, Terms
from tests.integration.running import Ask, Running, guarded_bus, running_service, until
from tests.integration.tasks_kit import settings_with

NEVER = Terms(resources=Resources(cores=4096), tags=("nightly",))
TASK = SubmitTask(model="breast-cancer-mlp", config={"epochs": 1}, terms=NEVER)
PROMOTED = {"event": "version_promoted", "where": {"model": "digits-cnn"}}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def trainer(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    async with running_service(build(settings_with(settings_of("trainer"))), HANDLERS, nats) as started:
        yield started


async def tasks_of(trainer: Running) -> list[dict[str, Any]]:
    return await trainer.rows("SELECT id, project, model, state, tags, context FROM tasks ORDER BY created_at")


async def its_time_comes(trainer: Running) -> None:
    await trainer.rows("UPDATE schedules SET next_at = now() - interval '1 hour' RETURNING name")


async def after_a_turn(ask: Ask, before: ScheduleView) -> ScheduleView:
    async def look() -> ScheduleView | None:
        found: ScheduleView = await ask(GetSchedule(name=before.name))
        return found if found.last_at != before.last_at else None

    schedule: ScheduleView = await until(look)
    return schedule


async def test_a_training_begins_when_its_time_comes_and_not_while_the_last_goes_on(trainer: Running, ask: Ask) -> None:
    made = await ask(PutSchedule(name="nightly", cron="30 3 * * *", task=TASK))
    assert (made.next_at.hour, made.next_at.minute, made.last_task) == (3, 30, "")
    await its_time_comes(trainer)
    first = await after_a_turn(ask, made)
    (task,) = await tasks_of(trainer)
    assert (first.last_task, first.last_error, first.next_at) == (task["id"], "", made.next_at)
    assert (task["model"], task["tags"], task["context"]["aimass-actor"]) == ("breast-cancer-mlp", ["nightly"], "ada")
    assert [event.task_id for event in await trainer.said(TrainingRequested)] == [task["id"]]
    await its_time_comes(trainer)
    left_out = await after_a_turn(ask, first)
    assert left_out.last_error == f"left out: {task['id']} still goes on"
    await ask(CancelTask(task_id=task["id"]), service="trainer")
    await its_time_comes(trainer)
    again = await after_a_turn(ask, left_out)
    assert (len(await tasks_of(trainer)), again.last_error) == (2, "")


async def test_an_event_begins_one_training_of_a_chain(trainer: Running, ask: Ask) -> None:
    await ask(PutSchedule(name="follow", on=PROMOTED, task=TASK, overlap=True), project="red")
    await ask(PutSchedule(name="never", on=PROMOTED, task=TASK, enabled=False), project="red")
    for project, model, chain in (
        ("red", "digits-cnn", "first"),
        ("red", "digits-cnn", "first"),
        ("red", "other", "second"),
        ("blue", "digits-cnn", "third"),
        ("red", "digits-cnn", "fourth"),
    ):
        event = VersionPromoted(model=model, version=1)
        await trainer.publish(event, project=project, correlation_id=chain)
    await trainer.settled()
    found = await tasks_of(trainer)
    assert [(task["project"], task["context"]["ce-correlationid"]) for task in found] == [
        ("red", "first"),
        ("red", "fourth"),
    ]
    assert await trainer.dead_letters() == 0


async def test_schedules_are_shown_changed_and_forgotten(trainer: Running, ask: Ask) -> None:
    await ask(PutSchedule(name="b", cron="0 0 * * *", task=TASK))
    await ask(PutSchedule(name="a", on=PROMOTED, task=TASK))
    changed = await ask(PutSchedule(name="b", cron="15 0 * * *", task=TASK, enabled=False))
    assert (changed.cron, changed.enabled) == ("15 0 * * *", False)
    assert [schedule.name for schedule in (await ask(ListSchedules())).schedules] == ["a", "b"]
    assert (await ask(ListSchedules(), project="red")).schedules == []
    with pytest.raises(NotFound):
        await ask(GetSchedule(name="a"), project="red")
    await ask(DeleteSchedule(name="a"))
    with pytest.raises(NotFound):
        await ask(DeleteSchedule(name="a"))


async def test_what_cannot_be_is_refused_at_once_and_what_fails_later_is_kept_for_people(
    trainer: Running, ask: Ask
) -> None:
    with pytest.raises(InvalidInput, match="cron: 'soon' is no time"):
        await ask(PutSchedule(name="x", cron="soon", task=TASK))
    with pytest.raises(NotFound):
        await ask(PutSchedule(name="x", cron="* * * * *", task=SubmitTask(model="unknown")))
    with pytest.raises(InvalidInput) as refused:
        await ask(PutSchedule(name="x", cron="* * * * *", task=SubmitTask(model="digits-cnn", config={"epochs": -1})))
    assert refused.value.field == "config.epochs"
    late = TASK.model_copy(update={"terms": Terms(after=("train-01a222ae-216a-749c-b343-d0e9d0d2cc14",))})
    made = await ask(PutSchedule(name="late", cron="0 0 1 1 *", task=late))
    await its_time_comes(trainer)
    schedule = await after_a_turn(ask, made)
    assert schedule.last_error.endswith("is not there") and schedule.last_task == ""
    assert await tasks_of(trainer) == []
