"""A training by two workers on a real Ray cluster, each on a node of its own, of which one is killed in the middle."""

import time

import psutil
import pytest

from shared.events.training import EpochCompleted
from shared.rpc.tasks import CancelTask, TaskView
from shared.tasks.terms import Place, Resources, Terms
from tests.integration.ray_cluster import RayCluster
from tests.integration.running import Ask, Running, until
from tests.integration.test_ray import cluster, nats, none_left, settings, view  # noqa: F401
from tests.integration.test_trainer import ended, has_reached
from tests.integration.test_workers import CONFIG, LONG, submit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS = 60
HERE = Terms(resources=Resources(cores=0.5))
THERE = Terms(place=Place.RAY)


async def test_on_two_nodes_as_here_and_again_where_one_is_killed(
    cluster: RayCluster,  # noqa: F811
    trainer: Running,
    ask: Ask,
) -> None:
    cluster.add(2)
    cluster.add(3)
    config = CONFIG | {"epochs": EPOCHS}
    here = await timed(ask, await submit(ask, config, HERE), "here")
    assert here.state == "succeeded"
    there = await timed(ask, await submit(ask, config, THERE), "there")
    assert (there.state, there.place, there.attempt) == ("succeeded", "ray", 1)
    assert there.result["digest"] == here.result["digest"]
    again = await submit(ask, config, THERE)
    await until(lambda: has_reached(ask, again, 3), 120)
    pairs = {ip: node.trainings() for ip, node in cluster.nodes.items()}
    assert {ip: len(found) for ip, found in pairs.items()} == {"head": 0, "127.0.0.2": 1, "127.0.0.3": 1}
    cluster.nodes["127.0.0.3"].kill()
    await until(lambda: is_gone(pairs["127.0.0.2"][0]))
    cluster.add(4)
    task = await ended(ask, again)
    assert (task.state, task.result) == ("succeeded", there.result)
    assert task.attempt >= 2
    print(f"{task.attempt} attempts")
    epochs = [event.epoch for event in await trainer.said(EpochCompleted) if event.task_id == again]
    assert epochs == list(range(1, EPOCHS + 1))
    await until(lambda: none_left(cluster))


async def test_what_is_stopped_leaves_nothing_on_any_node(cluster: RayCluster, trainer: Running, ask: Ask) -> None:  # noqa: F811
    cluster.add(2, cpus=2)
    task_id = await submit(ask, LONG, THERE)
    await until(lambda: has_reached(ask, task_id, 1), 120)
    assert len(cluster.trainings()) == 2
    await ask(CancelTask(task_id=task_id), service="trainer")
    await until(lambda: none_left(cluster))
    assert (await ended(ask, task_id)).state == "cancelled"


async def timed(ask: Ask, task_id: str, where: str) -> TaskView:
    began = time.monotonic()
    task = await ended(ask, task_id)
    print(f"{where}: {time.monotonic() - began:.1f} s")
    return task


async def is_gone(process: psutil.Process) -> bool:
    return not process.is_running()
