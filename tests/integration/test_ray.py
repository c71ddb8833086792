"""Trainings on a real Ray cluster of two nodes beside trainings here: the same models, whatever is killed."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.errors import DeadlineExceeded, Unavailable
from shared.events.training import EpochCompleted
from shared.rpc.tasks import CancelTask, GetTask, PauseTask, ResumeTask, TaskView
from shared.rpc.trainer import SubmitTask
from shared.settings import ServiceSettings
from shared.tasks.terms import Limits, Place, Resources, Terms
from tests.integration.ray_cluster import RayCluster, ray_cluster
from tests.integration.running import Ask, Running, guarded_bus, running_service, until
from tests.integration.tasks_kit import process_of, settings_with
from tests.integration.test_trainer import ended, has_reached

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CONFIG = {"epochs": 3, "channels": 8, "hidden": 16, "seed": 7}
LONG = CONFIG | {"epochs": 2000}
WHOLE = Terms(place=Place.RAY)
PART = Terms(place=Place.RAY, resources=Resources(cores=0.5, gpus=0.5))


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with ray_cluster(folder) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(cluster: RayCluster, nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    on_ray = {
        "ray_address": cluster.address,
        "ray_token_file": cluster.token_file,
        "ray_python": cluster.python,
        "ray_cores": 2,
        "ray_gpus": 2,
    }
    return settings_with(settings_of("trainer"), task_workers=16, task_cores=1, **on_ray)


async def submit(ask: Ask, config: dict[str, int], terms: Terms | None = None) -> str:
    accepted = await ask(SubmitTask(model="digits-cnn", config=config, terms=terms or Terms()))
    return str(accepted.id)


def of_model(task: TaskView) -> dict[str, Any]:
    """A node has no lock of packages to name, so its record says otherwise of its environment."""
    return {name: value for name, value in task.result.items() if name != "record"}


async def view(ask: Ask, task_id: str) -> TaskView:
    found: TaskView = await ask(GetTask(task_id=task_id), service="trainer")
    return found


async def none_left(cluster: RayCluster) -> bool:
    return not cluster.trainings() and not cluster.footholds()


async def test_there_as_here_and_again_where_its_node_is_killed(
    cluster: RayCluster, trainer: Running, ask: Ask
) -> None:
    cluster.add(2)
    cluster.add(3)
    config = CONFIG | {"epochs": 60}
    here = await ended(ask, await submit(ask, config))
    there = await ended(ask, await submit(ask, config, WHOLE))
    assert (there.state, there.place, there.attempt) == ("succeeded", "ray", 1)
    assert of_model(there) == of_model(here)
    again = await submit(ask, config, WHOLE)
    await until(lambda: has_reached(ask, again, 3), 120)
    (node,) = [node for node in cluster.nodes.values() if node.trainings()]
    (orphan,) = node.trainings()
    node.kill()
    print(f"killed the node {node.ip}")
    task = await ended(ask, again)
    assert (task.state, of_model(task), task.attempt) == ("succeeded", of_model(here), 2)
    assert not orphan.is_running()
    epochs = [event.epoch for event in await trainer.said(EpochCompleted) if event.task_id == again]
    assert epochs == list(range(1, 61))
    await until(lambda: none_left(cluster))


async def test_parts_of_what_a_node_has_and_nothing_left_of_what_is_stopped(
    cluster: RayCluster, trainer: Running, ask: Ask
) -> None:
    cluster.add(2, cpus=1, gpus=1)
    both = [await submit(ask, LONG, PART) for _ in range(2)]
    for task_id in both:
        await until(lambda: has_reached(ask, task_id, 1), 120)  # noqa: B023
    assert len(cluster.trainings()) == 2
    await ask(CancelTask(task_id=both[0]), service="trainer")
    await ask(PauseTask(task_id=both[1]), service="trainer")
    await until(lambda: none_left(cluster))
    assert (await ended(ask, both[0])).state == "cancelled"
    await until(lambda: rests(ask, both[1]))
    await ask(ResumeTask(task_id=both[1]), service="trainer")
    await until(lambda: has_reached(ask, both[1], 1), 120)
    (process,) = await until(lambda: trainings(cluster))
    process.kill()
    task = await until(lambda: has_note(ask, both[1], "goes on after"))
    assert "was ended by SIGKILL" in task.note
    await ask(CancelTask(task_id=both[1]), service="trainer")
    await until(lambda: none_left(cluster))


async def rests(ask: Ask, task_id: str) -> bool:
    return (await view(ask, task_id)).state == "paused"


async def trainings(cluster: RayCluster) -> list[psutil.Process]:
    return cluster.trainings()


async def has_note(ask: Ask, task_id: str, words: str) -> TaskView | None:
    task = await view(ask, task_id)
    return task if words in task.note else None


async def test_one_that_takes_too_much_memory_is_ended_there(cluster: RayCluster, trainer: Running, ask: Ask) -> None:
    cluster.add(2)
    terms = Terms(place=Place.RAY, limits=Limits(memory=32 * 1024 * 1024))
    task = await ended(ask, await submit(ask, CONFIG, terms))
    assert (task.state, task.error_class) == ("failed", "OutOfMemory")
    assert "limits.memory" in task.error_message


async def test_a_killed_service_leaves_nothing_there_and_the_next_goes_on(
    cluster: RayCluster, registry: Running, settings: Settings, nats: NatsServer, ask: Ask, tmp_path: Path
) -> None:
    cluster.add(2)
    brief = settings.model_copy(update={"lease_seconds": 2.0})
    config = CONFIG | {"epochs": 60}
    async with running_service(build(settings), HANDLERS, nats):
        here = await ended(ask, await submit(ask, config))
    with process_of("services.trainer", brief, tmp_path / "trainer.log") as service:
        task_id = await until(lambda: submitted(ask, config))
        await until(lambda: has_reached(ask, task_id, 3), 120)
        (orphan,) = cluster.trainings()
        kill(service)
    await until(lambda: is_gone(orphan))
    async with running_service(build(settings), HANDLERS, nats):
        task = await ended(ask, task_id)
    assert (task.state, of_model(task), task.attempt) == ("succeeded", of_model(here), 2)


def kill(service: "subprocess.Popen[bytes]") -> None:
    service.kill()
    service.wait()


async def is_gone(process: psutil.Process) -> bool:
    return not process.is_running()


async def submitted(ask: Ask, config: dict[str, int]) -> str | None:
    try:
        return await submit(ask, config, WHOLE)
    except (Unavailable, DeadlineExceeded):
        return None
