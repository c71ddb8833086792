"""Projections of monitor rebuilt from the log while it runs: the same state; what was altered is mended."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer
from deploy.provision import ROOT
from services.monitor.handlers import HANDLERS
from services.monitor.replaying import engine
from services.monitor.replaying.domain import LEFT_OUT, REBUILT, Verdict
from services.monitor.replaying.engine import Replay
from services.monitor.retention import Retention
from services.monitor.settings import Settings
from shared.errors import Conflict
from shared.events.base import Foreign
from shared.events.common import TaskState
from shared.events.models import ModelArchived
from shared.events.tasks import TaskChanged
from shared.events.training import EpochCompleted
from shared.reading import StreamReader
from tests.integration.running import Running, guarded_bus

KIT_FILES = (ROOT / "shared" / "migrations").glob("*.sql")
NOW = datetime.now(UTC)
YOYO = ("_yoyo", "yoyo")
KIT = {table for path in KIT_FILES for table in re.findall(r"CREATE TABLE (\w+)", path.read_text())}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


def replay_of(monitor: Running) -> tuple[Replay, list[str]]:
    said: list[str] = []
    assert monitor.service.database is not None
    reader = StreamReader(monitor.service.bus, "EVT")
    return Replay(monitor.service.database, reader, Settings(), said.append), said


async def rebuilt(monitor: Running, anew: bool = False) -> dict[str, Verdict]:
    return {verdict.table: verdict for verdict in await replay_of(monitor)[0].run(anew)}


async def said(monitor: Running, tasks: int = 5) -> None:
    """Tasks that went through their states, and other events among them; one without a time, one ahead of time."""
    states = [TaskState.QUEUED, TaskState.RUNNING, TaskState.SUCCEEDED]
    for number in range(tasks):
        for sequence, state in enumerate(states, 1):
            task = TaskChanged(task_id=f"train-{number}", kind="train", service="trainer", state=state, created_at=NOW)
            chain = f"c{number}" if sequence == 1 else f"of a person {number}"
            await monitor.publish(task, sequence=sequence, correlation_id=chain, actor="ada")
        await monitor.publish(EpochCompleted(task_id=f"train-{number}", metrics={"loss": float("nan")}))
    await monitor.publish(ModelArchived(model="cnn"), time="", project="other")
    await monitor.publish(ModelArchived(model="cnn"), time=(NOW + timedelta(days=1)).isoformat())
    placed = {"type": "ext-shop.v1.OrderPlaced", "subject": "orders/7", "source": "ext-shop"}
    await monitor.publish(Foreign(total=12), to="evt.default.ext-shop.v1.order_placed", **placed)
    await monitor.settled()


async def test_the_state_is_the_same(monitor: Running) -> None:
    await said(monitor)
    kept = {table: await monitor.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in REBUILT}
    found = await rebuilt(monitor)
    assert [(v.before.digest, v.after.rows) for v in found.values()] == [
        (v.after.digest, v.after.rows) for v in found.values()
    ]
    assert {table: verdict.after.rows for table, verdict in found.items()} == {"timeline": 23, "task_list": 5}
    assert {table: await monitor.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in REBUILT} == kept


ALTERATIONS = {
    "a task": ("UPDATE task_list SET state = 'failed' WHERE id = 'train-2'", "task_list", (1, 0, 0)),
    "a task that is gone": ("DELETE FROM task_list WHERE id = 'train-2'", "task_list", (0, 1, 0)),
    "a task that never was": (
        'INSERT INTO task_list SELECT r.* FROM task_list t, jsonb_populate_record(t, \'{"id": "x"}\') r LIMIT 1',
        "task_list",
        (0, 0, 1),
    ),
    "events": ("UPDATE timeline SET data = '{}' WHERE position IN (3, 4)", "timeline", (2, 0, 0)),
    "events that are gone": ("DELETE FROM timeline WHERE position < 4", "timeline", (0, 3, 0)),
}


@pytest.mark.parametrize("name", ALTERATIONS)
async def test_what_was_altered_is_mended(monitor: Running, name: str) -> None:
    await said(monitor)
    query, table, expected = ALTERATIONS[name]
    kept = await monitor.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
    await monitor.rows(query)
    found = (await rebuilt(monitor))[table]
    assert found.before != found.after and "mended" in found.told()
    assert (found.difference.changed, found.difference.missing, found.difference.surplus) == expected
    assert await monitor.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") == kept
    again = (await rebuilt(monitor))[table]
    assert again.before == again.after == found.after


async def test_it_goes_on_where_it_was_interrupted(monitor: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    await said(monitor)
    monkeypatch.setattr(engine, "BATCH", 5)
    monkeypatch.setattr(engine, "TAIL", 2)
    real, batches = StreamReader.batch, []

    async def interrupted(reader: StreamReader, subject: str, sequence: int, most: int) -> list[object]:
        batches.append(sequence)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return await real(reader, subject, sequence, most)  # type: ignore[return-value]

    monkeypatch.setattr(StreamReader, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await rebuilt(monitor)
    await monitor.publish(ModelArchived(model="later"))
    await monitor.settled()
    found = await rebuilt(monitor)
    assert all(verdict.before == verdict.after for verdict in found.values())
    assert batches[:4] == [1, 6, 11, 11]
    assert (await monitor.rows("SELECT count(*) FROM replays"))[0]["count"] == 1
    await rebuilt(monitor, anew=True)
    assert (await monitor.rows("SELECT count(*) FROM replays WHERE ended_at IS NOT NULL"))[0]["count"] == 2


async def test_monitor_hears_on_meanwhile_and_after(monitor: Running) -> None:
    await said(monitor)
    await rebuilt(monitor)
    await said(monitor, tasks=7)
    found = await rebuilt(monitor)
    assert all(verdict.before == verdict.after for verdict in found.values())
    assert found["task_list"].after.rows == 7
    names = {
        row["indexname"] for row in await monitor.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'timeline'")
    }
    assert {"timeline_pkey", "timeline_chains", "timeline_age", "timeline_positions"} <= names
    assert not [name for name in names if "next" in name]


async def test_what_the_log_has_no_more_is_taken_over(monitor: Running) -> None:
    """The log loses its oldest events; the timeline still has them, and then the tasks are kept as they were."""
    await said(monitor)
    await monitor.js.purge_stream("EVT", seq=11)
    found = await rebuilt(monitor)
    assert all(verdict.before == verdict.after for verdict in found.values())
    assert found["timeline"].after.rows == 23
    await monitor.rows("UPDATE timeline SET at = at - interval '40 days' WHERE position < 11")
    assert monitor.service.database is not None
    await Retention(monitor.service.database, Settings()).prune()
    found = await rebuilt(monitor)
    assert all(verdict.before == verdict.after for verdict in found.values())
    assert (found["timeline"].after.rows, found["task_list"].after.rows) == (13, 5)


async def test_a_subject_that_is_full_has_an_edge_of_its_own(monitor: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream keeps the last events of a subject alone; older ones of others are still there, and rule."""
    await said(monitor)
    await monitor.js.purge_stream("EVT", subject=EpochCompleted.subject("default"), keep=2)
    monkeypatch.setattr(engine, "SUBJECT_EVENTS", 2)
    await monitor.rows("UPDATE timeline SET actor = 'eve' WHERE position = 1")
    found = await rebuilt(monitor)
    assert (found["timeline"].difference.changed, found["timeline"].difference.surplus) == (1, 0)
    assert found["timeline"].after.rows == 23 and found["task_list"].before == found["task_list"].after


async def test_one_at_a_time(monitor: Running) -> None:
    assert monitor.service.database is not None
    async with monitor.service.database.connection() as other:
        await other.execute("SELECT pg_advisory_lock(hashtext(current_schema() || 'replay'))")
        with pytest.raises(Conflict, match="another process"):
            await rebuilt(monitor)
        await other.execute("SELECT pg_advisory_unlock_all()")


async def test_each_table_is_rebuilt_or_left_out_for_a_reason(monitor: Running) -> None:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    tables = {row["tablename"] for row in await monitor.rows(query)}
    assert {name for name in tables - KIT if not name.startswith(YOYO)} == {*REBUILT, *LEFT_OUT}
    assert all(LEFT_OUT.values()) and not {*REBUILT} & {*LEFT_OUT}
