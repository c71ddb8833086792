"""The terms of tasks on a real PostgreSQL and NATS: limits, retries, rest, dependencies, priorities and fair shares."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from shared.errors import Conflict
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted, TrainingFailed
from shared.rpc.tasks import CancelTask, NoteTask, PauseTask, ResumeTask
from shared.settings import ServiceSettings
from shared.tasks.terms import Limits, Resources, Retries, Terms
from tests.integration.running import asking, guarded_bus, running_service, until
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, children, settings_with

MIB = 1024 * 1024


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def tasks(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Tasks]:
    service = build(settings_with(settings_of("trainer"), task_cores=2, task_workers=16))
    async with running_service(service, HANDLERS, nats) as running:
        yield Tasks(running)


async def order_of_starts(tasks: Tasks) -> list[str]:
    rows = await tasks.running.rows("SELECT id FROM tasks WHERE started_at IS NOT NULL ORDER BY started_at")
    return [row["id"] for row in rows]


async def test_a_process_that_takes_too_much_memory_is_ended_and_tried_again_as_often_as_was_said(tasks: Tasks) -> None:
    terms = Terms(limits=Limits(memory=64 * MIB), retries=Retries(out_of_memory=1))
    row = await tasks.ended(await tasks.submit(terms, steps=1, end="grow"))
    assert (row["state"], row["fence"], row["error_class"]) == ("TASK_STATE_FAILED", 2, "OutOfMemory")
    assert "of which it may have 64" in row["error_message"] and "limits.memory" in row["error_message"]
    assert row["failure"]["peak_memory"] > 64 * MIB
    assert row["retried"] == {"out_of_memory": 1}
    assert children() == []


async def test_an_attempt_that_takes_too_long_is_ended(tasks: Tasks) -> None:
    row = await tasks.ended(await tasks.submit(Terms(limits=Limits(seconds=1)), steps=0, end="hang"))
    assert (row["state"], row["fence"], row["error_class"]) == ("TASK_STATE_FAILED", 1, "TimedOut")
    assert row["error_message"] == "an attempt may take 1 s: give it more by limits.seconds"
    assert children() == []


async def test_a_failure_is_tried_again_as_often_as_was_said(tasks: Tasks) -> None:
    row = await tasks.ended(await tasks.submit(Terms(retries=Retries(failed=2)), steps=1, end="fail"))
    assert (row["state"], row["fence"], row["error_class"]) == ("TASK_STATE_FAILED", 3, "ValueError")
    assert row["retried"] == {"failed": 2}
    assert len(await tasks.running.said(TrainingFailed)) == 1


async def test_a_task_rests_and_goes_on_from_what_it_reached(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(steps=4, stay=2)
    await tasks.runs(task_id, step=2)
    async with asking(nats) as ask:
        assert (await ask(PauseTask(task_id=task_id), service="trainer")).state == "running"
        row = await tasks.reached(task_id, lambda row: row["state"] == "TASK_STATE_PAUSED")
        assert (row["progress"], row["lease_owner"]) == (0.5, None)
        assert children() == []
        assert (await ask(PauseTask(task_id=task_id), service="trainer")).state == "paused"
        assert (await ask(ResumeTask(task_id=task_id), service="trainer")).state == "queued"
        row = await tasks.ended(task_id)
        with pytest.raises(Conflict, match="succeeded cannot become paused"):
            await ask(PauseTask(task_id=task_id), service="trainer")
        with pytest.raises(Conflict, match="succeeded cannot become queued"):
            await ask(ResumeTask(task_id=task_id), service="trainer")
    assert (row["state"], row["fence"]) == ("TASK_STATE_SUCCEEDED", 2)
    assert [event.epoch for event in await tasks.running.said(EpochCompleted)] == [1, 2, 3, 4]


async def test_a_waiting_task_rests_at_once_and_can_be_cancelled(tasks: Tasks, nats: NatsServer) -> None:
    first = await tasks.submit(steps=0, end="hang")
    task_id = await tasks.submit(Terms(after=(first,)))
    async with asking(nats) as ask:
        assert (await ask(PauseTask(task_id=task_id), service="trainer")).state == "paused"
        assert (await ask(CancelTask(task_id=task_id), service="trainer")).state == "cancelled"
    assert (await tasks.row(task_id))["fence"] == 0


async def test_a_task_runs_after_those_that_it_waits_for(tasks: Tasks) -> None:
    first, second = await tasks.submit(steps=1, pause=1), await tasks.submit(steps=1, pause=0)
    third = await tasks.submit(Terms(after=(first, second, first)), steps=1)
    assert (await tasks.row(third))["waits_for"] == [first, second]
    await tasks.ended(third)
    assert (await order_of_starts(tasks))[-1] == third
    events = [event for event in await tasks.running.said(TaskChanged) if event.task_id == third]
    assert (events[0].waits_for, events[-1].waits_for) == ((first, second), ())


@pytest.mark.parametrize("end", ["fail", "gone"])
async def test_what_waits_for_a_task_that_did_not_succeed_fails(tasks: Tasks, end: str) -> None:
    first = await tasks.submit(steps=0, end="hang" if end == "gone" else end)
    second = await tasks.submit(Terms(after=(first,)))
    third = await tasks.submit(Terms(after=(second,)))
    if end == "gone":
        await tasks.runs(first)
        await tasks.running.rows("DELETE FROM tasks WHERE id = $1 RETURNING id", first)
    for task_id, other in ((second, first), (third, second)):
        row = await tasks.ended(task_id)
        assert (row["state"], row["error_class"], row["fence"]) == ("TASK_STATE_FAILED", "DependencyFailed", 0)
        assert other in row["error_message"]


async def test_the_more_urgent_goes_first(tasks: Tasks, nats: NatsServer) -> None:
    busy = await tasks.submit(Terms(resources=Resources(cores=2)), steps=1, end="hang")
    await tasks.runs(busy, step=1)
    usual, urgent, raised = [
        await tasks.submit(Terms(priority=priority, resources=Resources(cores=2)), steps=1, pause=0)
        for priority in (0, 5, -1)
    ]
    async with asking(nats) as ask:
        noted = await ask(
            NoteTask(task_id=raised, priority=9, tags=["nightly"], remark="for the report"), service="trainer"
        )
        assert (noted.priority, noted.tags, noted.remark) == (9, ["nightly"], "for the report")
        kept = await ask(NoteTask(task_id=raised, remark="again"), service="trainer")
        assert (kept.priority, kept.tags, kept.remark) == (9, ["nightly"], "again")
        await ask(CancelTask(task_id=busy), service="trainer")
    for task_id in (usual, urgent, raised):
        await tasks.ended(task_id)
    assert await order_of_starts(tasks) == [busy, raised, urgent, usual]


async def test_no_more_runs_than_the_node_has_and_a_large_task_gets_its_turn(tasks: Tasks) -> None:
    small = [await tasks.submit(steps=1, pause=0.3) for _ in range(3)]
    large = await tasks.submit(Terms(resources=Resources(cores=2)), steps=1, pause=0.3)
    later = [await tasks.submit(steps=1, pause=0.3) for _ in range(3)]
    too_large = await tasks.submit(Terms(resources=Resources(cores=3)))
    most = 0

    async def all_ended() -> bool:
        nonlocal most
        held = await tasks.running.rows("SELECT coalesce(sum((needs ->> 'cores')::float), 0) AS cores FROM admissions")
        most = max(most, held[0]["cores"])
        left = await tasks.running.rows("SELECT 1 FROM tasks WHERE ended_at IS NULL AND id <> $1", too_large)
        return not left

    await until(all_ended)
    assert most == 2
    starts = await order_of_starts(tasks)
    assert starts.index(large) < min(starts.index(task_id) for task_id in later)
    assert set(starts) == {*small, large, *later}
    assert (await tasks.row(too_large))["state"] == "TASK_STATE_QUEUED"
    assert "needs more than any node has" in (await tasks.row(too_large))["note"]


async def test_projects_get_equal_parts(tasks: Tasks) -> None:
    terms = Terms(resources=Resources(cores=2))
    for project, count in (("red", 12), ("green", 4), ("blue", 4)):
        for _ in range(count):
            await tasks.submit(terms, project=project, steps=0)
    first: list[dict[str, Any]] = []

    async def twelve_began() -> bool:
        query = "SELECT project FROM tasks WHERE started_at IS NOT NULL ORDER BY started_at LIMIT 12"
        first[:] = await tasks.running.rows(query)
        return len(first) == 12

    await until(twelve_began)
    counts = {name: sum(row["project"] == name for row in first) for name in ("red", "green", "blue")}
    assert set(counts.values()) <= {3, 4, 5}, counts
