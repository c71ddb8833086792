"""Many tasks of three projects on two cores, while their service is killed again and again: all end, each once at a
time, and each project gets its part.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.trainer.settings import Settings
from shared.errors import Unavailable
from shared.settings import ServiceSettings
from shared.tasks.terms import Retries, Terms
from tests.integration.running import guarded_bus, running_service, until
from tests.integration.task_service import HANDLERS, build
from tests.integration.tasks_kit import Tasks, process_of, settings_with

MODULE = "tests.integration.task_service"
SEED = 20261128
PARTS = {"red": 0.5, "green": 0.3, "blue": 0.2}
TERMS = Terms(retries=Retries(lost=100))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"), lease_seconds=2, task_workers=16, task_cores=2)


@pytest.fixture
async def tasks(settings: Settings, nats: NatsServer) -> AsyncIterator[Tasks]:
    """A service that only looks on: it may run nothing."""
    service = build(settings.model_copy(update={"task_cores": 0.001, "task_node": "another"}))
    async with running_service(service, HANDLERS, nats) as running:
        yield Tasks(running)


async def left(tasks: Tasks, project: str = "") -> int:
    query = "SELECT count(*) AS n FROM tasks WHERE ended_at IS NULL AND ($1 = '' OR project = $1)"
    with suppress(Unavailable):
        return int((await tasks.running.rows(query, project))[0]["n"])
    return 1


async def usage(tasks: Tasks) -> dict[str, float]:
    return {row["project"]: row["used"] for row in await tasks.running.rows("SELECT project, used FROM project_usage")}


async def killed_again_and_again(settings: Settings, kills: int, tasks: Tasks, log: Path) -> int:
    """Kill the service after some time of work, as often as that or until all is done; then let it finish."""
    chance, done = random.Random(SEED), 0
    while done < kills and await left(tasks):
        with process_of(MODULE, settings, log) as process:
            await asyncio.sleep(chance.uniform(2, 5))
            process.kill()
            done += 1
    with process_of(MODULE, settings, log):
        await until(lambda: _none_left(tasks), 900)
    return done


async def _none_left(tasks: Tasks) -> bool:
    await asyncio.sleep(1)
    return not await left(tasks)


@pytest.mark.timeout(2700)
@pytest.mark.parametrize(
    ("count", "kills", "unfair"), [(20, 2, None), pytest.param(200, 20, 0.1, marks=pytest.mark.slow)]
)
async def test_none_is_lost_and_none_runs_twice_at_once(
    tasks: Tasks, settings: Settings, tmp_path: Path, count: int, kills: int, unfair: float | None
) -> None:
    folders = tmp_path / "register"
    for project, part in PARTS.items():
        for number in range(int(count * part)):
            folder = folders / f"{project}-{number}"
            folder.mkdir(parents=True)
            await tasks.submit(TERMS, project=project, steps=1, pause=0.2, register=str(folder))
    began = time.monotonic()
    working = asyncio.create_task(killed_again_and_again(settings, kills, tasks, tmp_path / "killed.log"))
    await until(lambda: _has_none_left(tasks, min(PARTS, key=PARTS.__getitem__)), 900)
    shares = await usage(tasks)
    done = await working
    rows = await tasks.running.rows("SELECT state, fence, lost FROM tasks")
    print(
        f"{count} tasks, {done} kills, {sum(row['fence'] for row in rows)} attempts, {time.monotonic() - began:.0f} s"
    )
    print({project: f"{seconds:.1f} s of the node" for project, seconds in shares.items()})
    assert {row["state"] for row in rows} == {"TASK_STATE_SUCCEEDED"} and len(rows) == count
    assert done == kills
    assert list(folders.glob("*/twice")) == []
    if unfair is not None:
        mean = sum(shares.values()) / len(shares)
        assert all(abs(seconds / mean - 1) <= unfair for seconds in shares.values()), shares


async def _has_none_left(tasks: Tasks, project: str) -> bool:
    return not await left(tasks, project)
