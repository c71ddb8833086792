"""The task kit on a real PostgreSQL and NATS: claimed once, resumed, cancelled, failed in words, logged, cleaned up."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer, PostgresServer
from shared.errors import Conflict, LeaseLost, NotFound
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted, TrainingCancelled, TrainingFailed
from shared.rpc.tasks import CancelTask, GetTask, GetTaskMetrics
from shared.settings import ServiceSettings
from shared.tasks import attempt as attempt_module
from shared.tasks import log as log_module
from shared.tasks import process as process_module
from shared.tasks import runner as runner_module
from shared.tasks import store
from shared.tasks.log import TaskLog
from shared.tasks.process import HELD_BYTES, KEEPS_MEMORY, KEPT_VARIABLES, OutputCopy
from shared.tasks.terms import Retries, Terms
from tests.integration.running import asking, guarded_bus, running_service, until
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, children, folders, settings_with


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def tasks(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Tasks]:
    service = build(settings_with(settings_of("trainer")))
    async with running_service(service, HANDLERS, nats) as running:
        yield Tasks(running)


async def test_a_task_runs_to_its_end(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit()
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"], row["progress"]) == ("TASK_STATE_SUCCEEDED", 1, 1.0)
    states = [event.state for event in await tasks.running.said(TaskChanged)]
    assert states == ["TASK_STATE_QUEUED", "TASK_STATE_RUNNING", "TASK_STATE_SUCCEEDED"]
    assert [event.epoch for event in await tasks.running.said(EpochCompleted)] == [1, 2, 3]
    assert await tasks.running.rows("SELECT step FROM task_files") == [{"step": 3}]
    assert await tasks.lines(task_id) == ["step 1", "step 2", "step 3"]
    assert {entry["attempt"] for entry in await tasks.log(task_id, "output")} == {1}
    assert await tasks.lines(task_id, "state") == ["queued", "running", "succeeded"]
    async with asking(nats) as ask:
        view = await ask(GetTask(task_id=task_id), service="trainer")
        assert (view.state, view.actor, view.attempt) == ("succeeded", "ada", 1)
        points = (await ask(GetTaskMetrics(task_id=task_id), service="trainer")).points
        assert [(point.epoch, point.name, point.value) for point in points] == [
            (epoch, "loss", 1 / epoch) for epoch in (1, 2, 3)
        ]
        await tasks.running.rows("UPDATE task_metrics SET value = 'NaN' WHERE task_id = $1", task_id)
        points = (await ask(GetTaskMetrics(task_id=task_id), service="trainer")).points
        assert [math.isnan(point.value) for point in points] == [True] * 3 and points[0].at.utcoffset() is not None
        with pytest.raises(NotFound):
            await ask(GetTask(task_id="train-none"), service="trainer")


async def test_the_process_gets_no_credentials_and_the_task_no_old_deadline(tasks: Tasks) -> None:
    row = await tasks.ended(await tasks.submit())
    allowed = {"PYTHONPATH", "PYTHONUNBUFFERED", "OMP_NUM_THREADS", "TMPDIR", "LC_CTYPE", "ORT_DISABLE_TELEMETRY"}
    assert set(KEEPS_MEMORY) <= set(row["result"]["environment"]) <= allowed | set(KEPT_VARIABLES) | set(KEEPS_MEMORY)
    assert "aimass-deadline" not in row["context"]
    assert "idempotency-key" not in row["context"]


async def test_a_killed_process_goes_on_from_its_last_checkpoint(tasks: Tasks) -> None:
    task_id = await tasks.submit(steps=4, stay=2)
    await tasks.runs(task_id, step=2)
    children()[0].kill()
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"], row["lost"]) == ("TASK_STATE_SUCCEEDED", 2, 0)
    assert [event.epoch for event in await tasks.running.said(EpochCompleted)] == [1, 2, 3, 4]
    assert "step 1" not in [entry["line"] for entry in await tasks.log(task_id, "output") if entry["attempt"] == 2]
    assert "queued: goes on after: the task's process was ended by SIGKILL" in await tasks.lines(task_id, "state")


@pytest.mark.parametrize("end", ["vanish", "half"])
async def test_a_process_that_always_vanishes_is_given_up(tasks: Tasks, end: str) -> None:
    row = await tasks.ended(await tasks.submit(Terms(retries=Retries(lost=1)), steps=0, end=end))
    assert (row["state"], row["fence"], row["error_class"]) == ("TASK_STATE_FAILED", 3, "ProcessLost")
    assert row["error_message"] == "2 attempts since the last checkpoint ended without a word"
    assert row["failure"]["exit_code"] == (3 if end == "vanish" else 0)
    assert row["failure"]["peak_memory"] > 5_000_000


async def test_what_is_told_of_a_killed_process(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(Terms(retries=Retries(lost=0)), steps=0, end="hang")
    await tasks.runs(task_id)
    await until(lambda: tasks.lines(task_id))
    children()[0].kill()
    await tasks.ended(task_id)
    async with asking(nats) as ask:
        failure = (await ask(GetTask(task_id=task_id), service="trainer")).failure
    assert (failure.error_class, failure.exit_signal, failure.log) == ("ProcessLost", "SIGKILL", ["hanging"])


@pytest.mark.parametrize(
    ("end", "error_class", "message"),
    [
        ("fail", "ValueError", "the reason with a NUL"),
        ("garbage", "Unreadable", "the task's process sent an unreadable report"),
    ],
)
async def test_a_failing_task_says_why(tasks: Tasks, end: str, error_class: str, message: str) -> None:
    task_id = await tasks.submit(steps=1, end=end)
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"], row["error_class"]) == ("TASK_STATE_FAILED", 1, error_class)
    assert message in row["error_message"].replace("  ", " ")
    failed = (await tasks.running.said(TrainingFailed))[0]
    assert (failed.error_class, failed.error_message) == (error_class, row["error_message"])
    failure = row["failure"]
    assert (failure["error_class"], failure["message"]) == (error_class, row["error_message"])
    assert "step 1" in failure["log"] and failure["peak_memory"] > 5_000_000
    assert failure["exit_signal"] == ""
    assert children() == []


async def test_cancel_ends_a_stubborn_process_and_its_children(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(steps=1, end="hang")
    await tasks.runs(task_id, step=1)
    family = [*children(), *children()[0].children()]
    assert len(family) == 2
    async with asking(nats) as ask:
        assert (await ask(CancelTask(task_id=task_id), service="trainer")).state == "running"
        row = await tasks.ended(task_id)
        assert row["state"] == "TASK_STATE_CANCELLED"
        assert (await ask(CancelTask(task_id=task_id), service="trainer")).state == "cancelled"
    assert len(await tasks.running.said(TrainingCancelled)) == 1
    await until(lambda: _all_gone(family))


async def _all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() for process in processes)


async def test_cancel_ends_a_waiting_task_at_once(tasks: Tasks, nats: NatsServer) -> None:
    busy = await tasks.submit(steps=1, end="hang")
    await tasks.runs(busy, step=1)
    waiting = await tasks.submit()
    async with asking(nats) as ask:
        assert (await ask(CancelTask(task_id=waiting), service="trainer")).state == "cancelled"
        assert [event.task_id for event in await tasks.running.said(TrainingCancelled)] == [waiting]
        await ask(CancelTask(task_id=busy), service="trainer")
        await tasks.ended(busy)
        done = await tasks.submit()
        await tasks.ended(done)
        with pytest.raises(Conflict, match="succeeded cannot become cancelled"):
            await ask(CancelTask(task_id=done), service="trainer")
    assert (await tasks.row(waiting))["fence"] == 0


async def test_many_reports_and_lines_flood_neither_database_nor_log(tasks: Tasks) -> None:
    task_id = await tasks.submit(steps=0, end="chatter")
    await tasks.ended(task_id)
    lines = await tasks.lines(task_id)
    assert lines[:3000] == [f"line {number}" for number in range(3000)]
    assert len(lines) == 3002 or lines[3000].startswith("(a line of more than")
    assert lines[-1] == "after the long line"
    assert len(await tasks.log(task_id, "progress")) < 30
    assert len(await tasks.running.said(TaskChanged)) < 10


async def test_a_slow_bus_loses_no_line(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[dict[str, Any]] = []

    async def take_slowly(log: TaskLog, message_id: str, body: bytes) -> None:
        taken.append(json.loads(body))
        await asyncio.sleep(0.05)

    monkeypatch.setattr(TaskLog, "_publish", take_slowly)
    monkeypatch.setattr(log_module, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(process_module, "OUTPUT_SECONDS", 0.4)
    task_id = await tasks.submit(steps=0, end="chatter")
    await tasks.ended(task_id)
    lines = [entry["line"] for entry in taken if entry["stream"] == "output"]
    assert lines[:3000] == [f"line {number}" for number in range(3000)]
    assert "dropped" not in {entry["stream"] for entry in taken}


async def test_what_an_ended_process_has_left_is_waited_for_however_slow_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "OUTPUT_SECONDS", 0.01)
    left, lines = asyncio.StreamReader(), []

    async def log_slowly(_: str, line: str) -> None:
        await asyncio.sleep(0.05)
        lines.append(line)

    left.feed_data(b"one\ntwo\nthree\n")
    left.feed_eof()
    await OutputCopy(left, log_slowly).finish()
    assert lines == ["one", "two", "three"]


async def test_a_descendant_that_prints_for_ever_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "OUTPUT_SECONDS", 0.01)
    endless, lines = asyncio.StreamReader(), []

    async def log(_: str, line: str) -> None:
        lines.append(line)
        endless.feed_data(b"more\n")
        await asyncio.sleep(0)

    endless.feed_data(b"more\n")
    copy = OutputCopy(endless, log)
    await copy.finish()
    copy.stop()
    assert lines.count("more") * len("more\n") >= HELD_BYTES
    assert "(the output is still open; what comes after this is left out)" in lines


async def test_progress_is_told_while_it_moves(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "BEAT_SECONDS", 0.1)
    task_id = await tasks.submit(steps=6, pause=0.3)
    await tasks.ended(task_id)
    fractions = [entry["fraction"] for entry in await tasks.log(task_id, "progress")]
    assert len(fractions) > 1
    assert fractions == sorted(fractions)


async def test_the_bus_may_go_while_a_task_runs(tasks: Tasks, nats: NatsServer) -> None:
    task_id = await tasks.submit(steps=6, pause=0.3)
    await tasks.runs(task_id, step=1)
    nats.kill()
    await tasks.runs(task_id, step=3)
    nats.start()
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"]) == ("TASK_STATE_SUCCEEDED", 1)
    assert await tasks.lines(task_id) == [f"step {number}" for number in range(1, 7)]
    assert [event.epoch for event in await tasks.running.said(EpochCompleted)] == list(range(1, 7))


async def test_the_database_may_go_for_less_than_a_lease(tasks: Tasks, postgres: PostgresServer) -> None:
    task_id = await tasks.submit(steps=6, pause=0.3)
    await tasks.runs(task_id, step=1)
    postgres.kill()
    postgres.start()
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"]) == ("TASK_STATE_SUCCEEDED", 1)
    assert [event.epoch for event in await tasks.running.said(EpochCompleted)] == list(range(1, 7))


async def test_nothing_is_left_behind(tasks: Tasks) -> None:
    await tasks.ended(await tasks.submit(steps=1, pause=0))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for end in ("well", "fail", "garbage", "well"):
        await tasks.ended(await tasks.submit(steps=1, pause=0, end=end))
    home = tasks.running.service.settings.home_dir

    async def clean() -> bool:
        return not folders(home) and not children()

    await until(clean)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # the pool may have opened a connection


async def test_each_task_is_run_once_by_several_workers(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings]
) -> None:
    settings = settings_with(settings_of("trainer"), task_workers=2, ops_port=0)
    async with running_service(build(settings), HANDLERS, nats) as running:
        tasks = Tasks(running)
        submitted = [await tasks.submit(steps=1, pause=0) for _ in range(6)]
        rows = [await tasks.ended(task_id) for task_id in submitted]
    assert {(row["state"], row["fence"]) for row in rows} == {("TASK_STATE_SUCCEEDED", 1)}


async def test_an_older_fence_writes_nothing(tasks: Tasks) -> None:
    task_id = await tasks.submit(steps=1, end="hang")
    await tasks.runs(task_id, step=1)
    (holder,) = children()
    database = tasks.running.service.database
    assert database
    async with database.transaction() as tx:
        held = await store.find(tx, "default", task_id)
        await tx.execute("UPDATE tasks SET fence = fence + 1 WHERE id = $1", task_id)
    for write in (store.hold, lambda tx, task: store.renew(tx, task, 5.0, _progress())):
        with pytest.raises(LeaseLost):
            async with database.transaction() as tx:
                await write(tx, held)

    async def ended() -> bool:
        return not holder.is_running()

    await until(ended)
    assert (await tasks.row(task_id))["state"] == "TASK_STATE_RUNNING"


def _progress() -> Any:
    from shared.worker import Progress

    return Progress(fraction=0.5)


async def test_a_job_that_swallows_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "PROCESS_SECONDS", 0.05)

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        await asyncio.sleep(600)

    job = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await attempt_module._stop(job)
    assert job.cancelled()


@pytest.mark.parametrize("poll_seconds", [0.001, 0.5])
async def test_a_stopping_service_gives_its_tasks_back(
    nats: NatsServer,
    settings_of: Callable[[str], ServiceSettings],
    monkeypatch: pytest.MonkeyPatch,
    poll_seconds: float,
) -> None:
    """Whenever its runner notices that it drains."""
    monkeypatch.setattr(runner_module, "POLL_SECONDS", poll_seconds)
    settings = settings_with(settings_of("trainer"), lease_seconds=600)
    async with running_service(build(settings), HANDLERS, nats) as first:
        task_id = await Tasks(first).submit(steps=4, stay=1)
        await Tasks(first).runs(task_id, step=1)
    async with running_service(build(settings), HANDLERS, nats) as second:
        row = await Tasks(second).ended(task_id)
    assert (row["state"], row["fence"], row["lost"]) == ("TASK_STATE_SUCCEEDED", 2, 0)
