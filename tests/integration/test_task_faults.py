"""Tasks of a service that is killed, frozen or stopped: another process goes on, and only one ever writes."""

import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer, PostgresServer
from services.trainer.settings import Settings
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted
from shared.settings import ServiceSettings
from tests.freezing import freeze, thaw
from tests.integration.running import guarded_bus, running_service, until
from tests.integration.task_child import WORD
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, children, folders, process_of, settings_with

MODULE = "tests.integration.task_service"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"), lease_seconds=2)


@pytest.fixture
async def tasks(settings: Settings, nats: NatsServer) -> AsyncIterator[Tasks]:
    """A service that looks on: it has work to do only when nobody else does it."""
    service = build(settings.model_copy(update={"task_workers": 1, "lease_seconds": 60.0}))
    async with running_service(service, HANDLERS, nats) as running:
        yield Tasks(running)


@asynccontextmanager
async def another(tasks: Tasks, settings: Settings, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that takes the tasks to come: our own worker has one that hangs, before the process is there."""
    await tasks.runs(await tasks.submit(steps=1, end="hang"), step=1)
    with process_of(MODULE, settings, log) as process:
        yield process


@pytest.fixture
async def other(tasks: Tasks, settings: Settings, tmp_path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    async with another(tasks, settings, tmp_path / "other.log") as process:
        yield process


async def held_by(tasks: Tasks, process: subprocess.Popen[bytes], step: int, **parameters: Any) -> str:
    """A task that this process holds, after some steps; from now on our own worker is free."""
    task_id = await tasks.submit(**parameters)
    await tasks.runs(task_id, step=step)
    assert (await tasks.row(task_id))["lease_owner"].endswith(f"-{process.pid}")
    for child in children():
        child.kill()
    await tasks.running.rows("DELETE FROM tasks WHERE id <> $1 RETURNING id", task_id)
    return task_id


async def test_a_killed_service_loses_its_task_to_another(
    tasks: Tasks, other: subprocess.Popen[bytes], settings: Settings
) -> None:
    task_id = await held_by(tasks, other, step=2, steps=6, stay=2)
    orphans = children(other.pid)
    other.kill()
    other.wait()
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"]) == ("TASK_STATE_SUCCEEDED", 2)
    epochs = [event.epoch for event in await tasks.running.said(EpochCompleted) if event.task_id == task_id]
    assert epochs == list(range(1, 7))
    assert not any(orphan.is_running() for orphan in orphans)


async def test_a_stopping_service_hands_over_before_its_lease_ends(
    settings: Settings, nats: NatsServer, tmp_path: Path
) -> None:
    patient = settings.model_copy(update={"lease_seconds": 600.0})
    async with running_service(build(patient.model_copy(update={"task_workers": 1})), HANDLERS, nats) as running:
        tasks = Tasks(running)
        async with another(tasks, patient, tmp_path / "other.log") as other:
            task_id = await held_by(tasks, other, step=1, steps=5, stay=1)
            other.send_signal(signal.SIGTERM)
            assert other.wait(60) == 0
        row = await tasks.ended(task_id)
        states = [event.state for event in await running.said(TaskChanged) if event.task_id == task_id]
    assert (row["state"], row["fence"], row["lost"]) == ("TASK_STATE_SUCCEEDED", 2, 0)
    assert [state.removeprefix("TASK_STATE_") for state in states if "RUNNING" not in state] == [
        "QUEUED",
        "QUEUED",
        "SUCCEEDED",
    ]


async def test_a_frozen_service_writes_nothing_after_its_lease(
    tasks: Tasks, other: subprocess.Popen[bytes], settings: Settings
) -> None:
    task_id = await held_by(tasks, other, step=1, steps=8, stay=1, pause=0.5)
    frozen = children(other.pid)
    freeze(other.pid)
    (folder,) = (folder for folder in folders(settings.home_dir) if folder.name.startswith(task_id))
    (folder / WORD).touch()
    await tasks.reached(task_id, lambda row: row["fence"] == 2)
    thaw(other.pid)

    async def gone() -> bool:
        return not any(process.is_running() for process in frozen)

    await until(gone)
    row = await tasks.ended(task_id)
    assert (row["state"], row["fence"]) == ("TASK_STATE_SUCCEEDED", 2)
    assert other.poll() is None
    epochs = [event.epoch for event in await tasks.running.said(EpochCompleted) if event.task_id == task_id]
    assert epochs == list(range(1, 9))


async def test_the_folders_of_a_killed_service_are_swept(
    tasks: Tasks, other: subprocess.Popen[bytes], settings: Settings, tmp_path: Path
) -> None:
    await held_by(tasks, other, step=1, steps=8, stay=1)
    left = [folder for folder in folders(settings.home_dir) if folder.parent != _own(settings)]
    assert left
    other.kill()
    other.wait()
    with process_of(MODULE, settings, tmp_path / "third.log"):

        async def swept() -> bool:
            return not any(folder.exists() for folder in left)

        await until(swept)


def _own(settings: Settings) -> Path:
    """The newest folder of a live process: the one that some process of ours holds open."""
    held = {file.path for file in psutil.Process().open_files()}
    return next(path for path in (settings.home_dir / "tasks").glob("worker-*") if str(path / "lock") in held)


async def test_a_service_stops_while_bus_and_database_are_away(
    settings: Settings, nats: NatsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    patient = settings.model_copy(update={"lease_seconds": 3.0})
    async with running_service(build(patient), HANDLERS, nats) as running:
        task_id = await Tasks(running).submit(steps=100, pause=0.1)
    with process_of(MODULE, patient, tmp_path / "other.log") as other:

        async def at_work() -> bool:
            return bool(children(other.pid))

        await until(at_work)
        nats.kill()
        postgres.kill()
        other.send_signal(signal.SIGTERM)
        code = other.wait(60)
        postgres.start()
        nats.start()
    assert code == 0
    assert not children()
    async with running_service(build(patient), HANDLERS, nats) as running:
        await Tasks(running).runs(task_id, step=1)


async def test_cancel_reaches_a_task_whose_service_is_dead(
    tasks: Tasks, other: subprocess.Popen[bytes], settings: Settings
) -> None:
    task_id = await held_by(tasks, other, step=1, steps=50, pause=0.3)
    other.kill()
    other.wait()
    await tasks.running.rows("UPDATE tasks SET cancel_requested = true WHERE id = $1 RETURNING id", task_id)
    began = time.monotonic()
    row = await tasks.ended(task_id)
    print(f"cancelled after {time.monotonic() - began:.1f} s")
    assert row["state"] == "TASK_STATE_CANCELLED"
