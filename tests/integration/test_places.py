"""Places of tasks on a real PostgreSQL and NATS: each is a node of its own to be admitted to."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.on_ray.ground import RayGround
from services.trainer.settings import Settings
from shared.settings import ServiceSettings
from shared.tasks.grounds import LocalGround
from shared.tasks.terms import Place, Resources, Retries, Terms
from tests.integration.running import running_service, until
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, children, settings_with
from tests.integration.test_task_terms import nats  # noqa: F401

THERE = Terms(place=Place.RAY)
LARGE = Terms(place=Place.RAY, resources=Resources(cores=2))


@dataclass(frozen=True)
class SecondGround(LocalGround):
    """A place beside the first, on the same machine."""

    place = Place.RAY


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Iterator[Settings]:  # noqa: F811
    yield settings_with(settings_of("trainer"), task_cores=1, task_workers=16)


async def test_each_place_admits_by_what_it_has(settings: Settings, nats: NatsServer) -> None:  # noqa: F811
    ground = SecondGround("ray:second", Resources(cores=1))
    async with running_service(build(settings, ground), HANDLERS, nats) as running:
        tasks = Tasks(running)
        here = [await tasks.submit(steps=0, end="hang"), await tasks.submit(steps=1)]
        there = [await tasks.submit(THERE, steps=0, end="hang"), await tasks.submit(THERE, steps=1)]
        large = await tasks.submit(LARGE)

        async def two_hang() -> bool:
            return len(children()) == 2

        await until(two_hang)
        await tasks.reached(large, lambda row: row["note"].startswith("needs more than any node has"))
        rows = await running.rows("SELECT id FROM tasks WHERE started_at IS NOT NULL")
        held = await running.rows("SELECT task_id, node FROM admissions")
        assert {row["id"] for row in rows} == {here[0], there[0]}
        assert {row["task_id"]: row["node"] for row in held} == {here[0]: settings.task_node, there[0]: "ray:second"}
        await running.rows("UPDATE tasks SET cancel_requested = true WHERE id = $1 RETURNING id", there[0])
        assert (await tasks.ended(there[1]))["state"] == "TASK_STATE_SUCCEEDED"
        assert (await tasks.row(here[1]))["state"] == "TASK_STATE_QUEUED"


async def test_one_whose_place_is_gone_waits_and_says_so(settings: Settings, nats: NatsServer) -> None:  # noqa: F811
    async with running_service(build(settings), HANDLERS, nats) as running:
        tasks = Tasks(running)
        there = await tasks.submit(THERE, steps=1)
        assert (await tasks.ended(await tasks.submit(steps=1)))["state"] == "TASK_STATE_SUCCEEDED"
        row = await tasks.reached(there, lambda row: row["note"])
    assert (row["state"], row["note"]) == ("TASK_STATE_QUEUED", "waits: trainer has no place 'ray' now")


async def test_without_ray_and_without_a_cluster_a_task_says_what_is_missing(
    settings: Settings,
    nats: NatsServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    given = {"ray_address": "127.0.0.1:1", "ray_python": sys.executable}
    ground = RayGround.of(settings.model_copy(update=given | {"ray_python": Path(sys.executable)}))
    async with running_service(build(settings, ground), HANDLERS, nats) as running:
        row = await Tasks(running).ended(await Tasks(running).submit(THERE, steps=1))
    assert (row["error_class"], row["error_message"]) == ("ModuleNotFoundError", "No module named 'ray'")
    absent = RayGround.of(settings.model_copy(update=given | {"ray_python": tmp_path / "python"}))
    async with running_service(build(settings, absent), HANDLERS, nats) as running:
        terms = Terms(place=Place.RAY, retries=Retries(lost=0))
        row = await Tasks(running).ended(await Tasks(running).submit(terms, steps=1))
    assert row["error_class"] == "ProcessLost"
