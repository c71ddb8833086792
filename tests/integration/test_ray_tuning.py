"""A study whose trials run on a real Ray cluster of two nodes, of which one is killed, beside the same study here."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.settings import Settings
from shared.rpc.trainer import GetStudy, StudyView, SubmitStudy
from shared.tasks.terms import Place, Resources, Terms
from shared.tuning import Budget, Sampler
from tests.integration.ray_cluster import RayCluster
from tests.integration.running import Ask, Running, running_service, until
from tests.integration.test_ray import HANDLERS, build, cluster, nats, none_left, settings  # noqa: F401
from tests.integration.test_trainer import FINAL  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TRIALS = 16
CONFIG = {"epochs": 20}
ONE = Resources(cores=1)


@pytest.fixture
async def trainer(registry: Running, settings: Settings, nats: NatsServer) -> AsyncIterator[Running]:  # noqa: F811
    service = build(settings.model_copy(update={"task_cores": 2.0}))
    async with running_service(service, HANDLERS, nats) as started:
        yield started


async def study(ask: Ask, place: Place) -> str:  # noqa: F811
    terms = Terms(place=place, resources=ONE)
    budget = Budget(trials=TRIALS)
    facts: dict[str, Any] = {"config": CONFIG, "sampler": Sampler.RANDOM, "parallel": 2, "seed": 5}
    return str((await ask(SubmitStudy(model="digits-cnn", budget=budget, terms=terms, **facts))).id)


async def seen(ask: Ask, task_id: str) -> StudyView:  # noqa: F811
    found: StudyView = await ask(GetStudy(task_id=task_id))
    return found


async def has_ended(ask: Ask, task_id: str, trials: int) -> bool:  # noqa: F811
    return sum(trial.state == "succeeded" for trial in (await seen(ask, task_id)).trials) >= trials


def values(view: StudyView) -> list[tuple[Any, ...]]:
    return sorted((trial.number, tuple(trial.values or ())) for trial in view.trials)


async def test_all_trials_end_where_a_node_is_killed(cluster: RayCluster, trainer: Running, ask: Ask) -> None:  # noqa: F811
    cluster.add(2)
    cluster.add(3)
    began = time.monotonic()
    here = await study(ask, Place.LOCAL)
    await until(lambda: _over(ask, here), 400)
    local = time.monotonic() - began
    began = time.monotonic()
    there = await study(ask, Place.RAY)
    await until(lambda: has_ended(ask, there, 4), 400)
    (node, *_) = await until(lambda: _busy(cluster))
    lost = len(node.trainings())
    node.kill()
    await until(lambda: _over(ask, there), 400)
    on_ray = time.monotonic() - began
    view = await seen(ask, there)
    states = Counter(trial.state for trial in view.trials)
    attempts = await trainer.rows(
        "SELECT fence, count(*) AS n FROM tasks WHERE parent = $1 GROUP BY 1 ORDER BY 1", there
    )
    print(f"\n{TRIALS} trials here {local:.0f} s, on two nodes with {lost} trials killed with one {on_ray:.0f} s")
    print(dict(states), attempts)
    assert states == {"succeeded": TRIALS}
    assert sum(row["n"] for row in attempts) == TRIALS
    assert sum(row["n"] * (row["fence"] - 1) for row in attempts) >= lost
    assert values(view) == values(await seen(ask, here))
    await until(lambda: none_left(cluster))


async def _over(ask: Ask, task_id: str) -> bool:  # noqa: F811
    return (await seen(ask, task_id)).state in FINAL


async def _busy(cluster: RayCluster) -> list[Any]:  # noqa: F811
    return [node for node in cluster.nodes.values() if node.trainings()]
