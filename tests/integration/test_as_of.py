"""Lists of models, deployments and tasks as they were at a time, from the histories that their owners keep."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.inference import store as deployments
from services.inference.domain import Deployment
from services.monitor.handlers import HANDLERS as MONITOR
from services.monitor.retention import Retention
from services.monitor.settings import Settings
from services.registry.handlers import HANDLERS as REGISTRY
from shared.db import Database
from shared.errors import InvalidInput, NotFound
from shared.events.common import Signature, TaskState
from shared.events.tasks import TaskChanged
from shared.names import new_id
from shared.rpc.monitor import ListTasks
from shared.rpc.registry import ArchiveModel, GetModel, ListModels, SetAlias
from shared.settings import ServiceSettings
from tests.integration.running import Ask, Running, guarded_bus

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
IDS = [f"train-{new_id()}" for _ in range(4)]
VERSION = """
INSERT INTO versions (project, model, version, digest, task_id, task_type, code_version, parameters, metrics, labels,
    signature, gate, card)
VALUES ('default', 'cnn', $1, $1::int::text, '', '', '', '{}', '{}', '["cat"]', '{}', '[]', '{}')
"""


@pytest.fixture
def nats(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    handlers = MONITOR if "monitor" in request.fixturenames else REGISTRY
    with guarded_bus(tmp_path / "nats", handlers) as server:
        yield server


async def now() -> datetime:
    """A moment with nothing of before or after at it, by the clock of a server on this machine."""
    await asyncio.sleep(0.02)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.02)
    return moment


async def test_models(registry: Running, ask: Ask) -> None:
    begun = await now()
    await registry.rows("INSERT INTO models (project, name) VALUES ('default', 'cnn'), ('other', 'theirs')")
    await registry.rows(VERSION, 1)
    one = await now()
    await registry.rows(VERSION, 2)
    await ask(SetAlias(model="cnn", alias="typed", version=2))
    two = await now()
    await ask(ArchiveModel(model="cnn", archived=True))
    await registry.rows("DELETE FROM aliases")
    three = await now()

    async def was(at: datetime, **given: object) -> list[tuple[str, int, dict[str, int]]]:
        found = await ask(ListModels(as_of=at, **given))
        return [(model.name, model.versions, model.aliases) for model in found.models]

    assert await was(begun) == []
    assert await was(one) == await was(one, q="cat") == [("cnn", 1, {})]
    assert await was(two) == [("cnn", 2, {"typed": 2})]
    assert (await was(three), await was(three, archived=True)) == ([], [("cnn", 2, {})])
    assert (await ask(GetModel(model="cnn", as_of=two))).aliases == {"typed": 2}
    assert [model.name for model in (await ask(ListModels(as_of=two), project="other")).models] == ["theirs"]
    with pytest.raises(NotFound):
        await ask(GetModel(model="cnn", as_of=begun))
    for wrong, words in ((LONG_AGO, "is not kept"), (three + timedelta(days=1), "has passed")):
        with pytest.raises(InvalidInput, match=words):
            await ask(ListModels(as_of=wrong))


async def test_histories_forget_what_ended_long_ago(registry: Running) -> None:
    await registry.rows("INSERT INTO models (project, name) VALUES ('default', 'cnn')")
    await registry.rows("UPDATE models SET task_type = 'a'")
    await registry.rows("UPDATE history SET until = until - interval '31 days' WHERE until < 'infinity'")
    await registry.rows("UPDATE models SET task_type = 'b'")
    kept = await registry.rows("SELECT record ->> 'task_type' AS kind FROM history ORDER BY since")
    assert [row["kind"] for row in kept] == ["a", "b"]


async def test_deployments(settings_of: Callable[[str], ServiceSettings]) -> None:
    database = Database(settings_of("inference"))
    deployment = Deployment("default", "cnn", 1, "d", Signature(), "loading")
    async with database.transaction() as tx:
        await deployments.insert(tx, deployment)
    one = await now()
    async with database.transaction() as tx:
        await deployments.set_state(tx, deployment, "staged")
        await deployments.want_route(tx, deployment, 1, {})
        route = await deployments.find_route(tx, "default", "cnn")
        assert route is not None
        epoch = await deployments.switch(tx, route)
    two = await now()
    async with database.transaction() as tx:
        await tx.execute("UPDATE deployments SET state = 'unstaged'")

    async def was(at: datetime, project: str = "default") -> list[tuple[int, str, bool, int]]:
        async with database.transaction() as tx:
            found = await deployments.views(tx, project, None, at)
        return [(view.version, view.state, view.ready, view.epoch) for view in found]

    assert await was(one) == [(1, "loading", False, 0)]
    assert await was(two) == [(1, "staged", True, epoch)]
    assert await was(datetime.now(UTC)) == [(1, "unstaged", False, epoch)]
    assert await was(two, "other") == []
    with pytest.raises(InvalidInput, match="is not kept"):
        await was(LONG_AGO)
    await database.close()


def task(number: int, state: TaskState, at: datetime, **given: object) -> TaskChanged:
    fields = {"task_id": IDS[number], "kind": "train", "service": "trainer", "model": "cnn", "created_at": at}
    return TaskChanged.model_validate(fields | {"state": state} | given)


async def test_tasks(monitor: Running, ask: Ask) -> None:
    """By their events; those whose events are gone as they were at the edge."""
    await monitor.rows("UPDATE history SET edge = now() - interval '29 days'")
    begun = datetime.now(UTC) - timedelta(hours=1)
    old = begun - timedelta(days=35)

    async def said(event: TaskChanged, at: datetime, sequence: int) -> None:
        given = {"correlation_id": "c", "project": "default"}
        await monitor.publish(event, time=at.isoformat(), sequence=sequence, **given)

    await said(task(1, TaskState.SUCCEEDED, old), old, 2)
    await said(task(2, TaskState.RUNNING, old, tags=["night"]), old, 2)
    await said(task(2, TaskState.FAILED, old), begun + timedelta(minutes=30), 3)
    await said(task(3, TaskState.QUEUED, begun, priority=5), begun, 1)
    await said(task(3, TaskState.RUNNING, begun, progress=0.5), begun + timedelta(minutes=10), 2)
    await said(task(3, TaskState.SUCCEEDED, begun), begun + timedelta(minutes=20), 3)
    await monitor.settled()
    assert monitor.service.database is not None
    await Retention(monitor.service.database, Settings()).prune()

    async def was(minutes: float, **given: object) -> list[tuple[str, str]]:
        found = await ask(ListTasks(as_of=begun + timedelta(minutes=minutes), **given))
        return [(view.id, view.state) for view in found.tasks]

    ended = (IDS[1], "succeeded")
    assert await was(-5) == [(IDS[2], "running"), ended]
    assert await was(5) == [(IDS[3], "queued"), (IDS[2], "running"), ended]
    assert await was(15) == [(IDS[3], "running"), (IDS[2], "running"), ended]
    assert await was(35) == [(IDS[3], "succeeded"), (IDS[2], "failed"), ended]
    assert await was(15, state="running") == [(IDS[3], "running"), (IDS[2], "running")]
    assert (await was(15, tag="night"), await was(35, tag="night")) == ([(IDS[2], "running")], [])
    assert await was(15, task_id=IDS[3]) == [(IDS[3], "running")]
    first = await ask(ListTasks(as_of=begun + timedelta(minutes=15), limit=1))
    assert first.tasks[0].progress == 0.5 and first.tasks[0].correlation_id == "c"
    assert await was(15, cursor=first.next) == [(IDS[2], "running"), ended]
    assert not (await ask(ListTasks(as_of=begun), project="other")).tasks
    with pytest.raises(InvalidInput, match="is not kept"):
        await was(-60 * 24 * 30)
