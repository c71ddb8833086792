"""Trainings by several workers on real servers: one task, whichever of its processes is killed, or whatever ends it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.errors import InvalidInput
from shared.events.training import EpochCompleted
from shared.rpc.curves import GetTaskCurves
from shared.rpc.tasks import CancelTask, GetTask, PauseTask, ResumeTask, TaskView
from shared.rpc.trainer import ReproduceTask, SubmitTask
from shared.settings import ServiceSettings
from shared.tasks.terms import Limits, Resources, Retries, Terms
from tests.integration.running import Ask, Running, guarded_bus, until
from tests.integration.tasks_kit import Tasks, settings_with
from tests.integration.test_trainer import ended, has_reached

CONFIG = {"epochs": 12, "channels": 8, "hidden": 16, "seed": 7}
LONG = CONFIG | {"epochs": 5000}
TWO = {"workers": 2, "checkpoint_steps": 7}
ENGINE = "services.trainer.engine"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"), task_workers=4)


async def submit(ask: Ask, config: dict[str, Any], terms: Terms | None = None, **training: Any) -> str:
    order = SubmitTask(model="digits-cnn", config=config, training=TWO | training, terms=terms or Terms())
    return str((await ask(order)).id)


async def view(ask: Ask, task_id: str) -> TaskView:
    found: TaskView = await ask(GetTask(task_id=task_id), service="trainer")
    return found


def workers() -> list[psutil.Process]:
    """By their ranks, as they begin one after another."""
    found = [process for process in psutil.Process().children() if ENGINE in _words(process)]
    return sorted(found, key=psutil.Process.create_time)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


async def both(ask: Ask, task_id: str) -> list[psutil.Process]:
    await until(lambda: has_reached(ask, task_id, 1), 120)
    return workers()


async def none_left() -> bool:
    return not workers()


async def test_two_are_one_task_and_the_killed_one_takes_nothing_along(trainer: Running, ask: Ask) -> None:
    whole = await ended(ask, await submit(ask, CONFIG))
    assert (whole.state, whole.attempt) == ("succeeded", 1)
    assert whole.parameters["training"] == {"checkpoint_steps": 7, "workers": 2}
    assert whole.resources == Resources(cores=2, memory=2 * 1024**3)
    await _told_of_both(trainer, ask, whole)
    for rank in (1, 0):
        task_id = await submit(ask, CONFIG)
        pair = await both(ask, task_id)
        assert len(pair) == 2
        pair[rank].kill()
        print(f"killed worker {rank + 1}")
        await until(lambda: goes_on(ask, task_id))  # noqa: B023
        task = await ended(ask, task_id)
        assert (task.state, task.attempt, task.result) == ("succeeded", 2, whole.result)
        epochs = [event.epoch for event in await trainer.said(EpochCompleted) if event.task_id == task_id]
        assert epochs == list(range(1, CONFIG["epochs"] + 1))
    again = await ended(ask, (await ask(ReproduceTask(task_id=whole.id))).id)
    assert again.result["reproduction"]["same_digest"]


async def _told_of_both(trainer: Running, ask: Ask, task: TaskView) -> None:
    """Each step once, of the first; what the processes take, of all; a line of another says whose it is."""
    curves = (await ask(GetTaskCurves(task_id=task.id, points=5000), service="trainer")).curves
    found = {(curve.name, curve.per): curve for curve in curves}
    steps = found["train_loss", "step"]
    assert steps.x == [float(step) for step in range(1, steps.count + 1)]
    lines = await Tasks(trainer).lines(task.id)
    assert sum("epoch 12 of 12" in line for line in lines) == 1


async def goes_on(ask: Ask, task_id: str) -> bool:
    task = await view(ask, task_id)
    return "was ended by SIGKILL" in task.note or task.attempt == 2


async def test_what_ends_the_task_ends_all_of_it(trainer: Running, ask: Ask) -> None:
    first = await submit(ask, LONG)
    assert len(await both(ask, first)) == 2
    await ask(PauseTask(task_id=first), service="trainer")
    await until(none_left)
    await ask(ResumeTask(task_id=first), service="trainer")
    await until(lambda: has_workers(2))
    await ask(CancelTask(task_id=first), service="trainer")
    await until(none_left)
    assert (await ended(ask, first)).state == "cancelled"
    terms = Terms(limits=Limits(seconds=8), retries=Retries(timed_out=0))
    late = await ended(ask, await submit(ask, LONG, terms))
    assert (late.state, late.error_class) == ("failed", "TimedOut")
    assert await none_left()


async def has_workers(count: int) -> bool:
    return len(workers()) == count


async def test_each_takes_what_was_said_and_what_no_node_has_waits(trainer: Running, ask: Ask) -> None:
    large = await submit(ask, CONFIG, workers=5)
    await until(lambda: has_note(ask, large, "needs more than any node has"))
    assert (await view(ask, large)).resources == Resources(cores=5, memory=5 * 1024**3)
    small = await submit(ask, CONFIG, Terms(resources=Resources(cores=0.25, memory=2**28)), workers=3)
    task = await ended(ask, small)
    assert (task.state, task.resources) == ("succeeded", Resources(cores=0.75, memory=3 * 2**28))
    await ask(CancelTask(task_id=large), service="trainer")


async def has_note(ask: Ask, task_id: str, words: str) -> bool:
    return words in (await view(ask, task_id)).note


async def test_one_that_takes_too_much_memory_ends_all(trainer: Running, ask: Ask) -> None:
    task = await ended(ask, await submit(ask, LONG, Terms(limits=Limits(memory=32 * 1024 * 1024))))
    assert (task.state, task.error_class) == ("failed", "OutOfMemory")
    assert await none_left()


@pytest.mark.parametrize(
    ("model", "config", "terms", "training", "field"),
    [
        ("digits-cnn", {}, {}, {"workers": 0}, "training.workers"),
        ("digits-cnn", {}, {}, {"workers": 65}, "training.workers"),
        ("digits-cnn", {"batch_size": 8}, {}, {"workers": 5}, "training.workers"),
        ("visual-search", {}, {}, {"workers": 2}, "training.workers"),
        ("asr-tiny", {}, {}, {"workers": 2}, "training.workers"),
        ("digits-cnn", {}, {"gpus": 0.5}, {"workers": 2}, "resources.gpus"),
        ("digits-cnn", {}, {"cores": 4000}, {"workers": 2}, "resources.cores"),
    ],
)
async def test_what_cannot_be_divided_is_refused_by_its_name(
    trainer: Running, ask: Ask, model: str, config: Any, terms: Any, training: Any, field: str
) -> None:
    resources = Resources(**terms) if terms else None
    with pytest.raises(InvalidInput, match=f"^{field}: ") as caught:
        await ask(SubmitTask(model=model, config=config, training=training, terms=Terms(resources=resources)))
    assert caught.value.field == field
    assert await trainer.rows("SELECT 1 FROM tasks") == []
