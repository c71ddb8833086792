"""What projects keep: told by registry, metered and limited by monitor, refused at the gateway."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.gateway.access import Gatekeeper
from services.gateway.credentials import BUCKET, CredentialCache, UsedUpQuotas
from services.monitor.quotas.board import Board
from services.registry import store
from services.registry.holding import Holding
from shared.artifacts import Artifacts
from shared.credentials import credential_subject
from shared.db import Connection, Database
from shared.errors import QuotaUsedUp
from shared.events.quotas import QuotaExceeded, QuotaNearing
from shared.events.storage import StorageHeld
from shared.outbox import Relay
from shared.quotas import ProjectState, quota_name
from shared.rpc.registry import RegisterDataset
from shared.rpc.usage import GetInvoice, GetUsage, Limit, SetPrices, SetQuotas
from shared.settings import ServiceSettings
from tests.integration.running import Ask, Running, asking, until

NOON = datetime(2030, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def nats(guarded_nats: NatsServer) -> NatsServer:
    return guarded_nats


def held(at: datetime, size: int, project: str = "default") -> StorageHeld:
    return StorageHeld(project=project, at=at, bytes_held=size)


async def byte_hours(ask: Ask, **given: Any) -> int:
    days = {"since": NOON.date(), "until": NOON.date()} | given
    found = await ask(GetUsage(kind="storage", group=(), **days))
    return sum(row.byte_hours for row in found.rows)


async def test_the_most_of_each_hour_counts_once_whatever_the_order(monitor: Running, ask: Ask) -> None:
    minutes = {0: 500, 20: 700, 59: 600, 60: 100, 185: 40}
    said = [held(NOON + timedelta(minutes=minute), size) for minute, size in minutes.items()]
    for event in random.sample(said * 2, len(said) * 2):
        await monitor.publish(event)
    await monitor.publish(held(NOON, 9, "other"), project="other")
    await monitor.settled()
    assert await byte_hours(ask) == 700 + 100 + 40
    assert await byte_hours(ask, of="other") == 9 and await byte_hours(ask, until=NOON.date() + timedelta(1)) == 840
    assert [row["bytes_last"] for row in await monitor.rows("SELECT * FROM usage_storage ORDER BY project, hour")] == [
        *(600, 100, 40, 9)
    ]


async def test_a_full_project_is_told_before_and_refused_files_until_there_is_room(monitor: Running, ask: Ask) -> None:
    now = datetime.now(UTC)
    await ask(SetQuotas(of="default", limits=(Limit(quota="storage_bytes", hard=10**9),)))
    await ask(SetPrices(valid_from=now.date(), currency="EUR", prices={"storage_gigabyte_hour": "0.5"}))
    cache = CredentialCache(3600)
    gate = Gatekeeper(cache)

    async def stands(level: int) -> None:
        query = f"SELECT 1 FROM quota_states WHERE level = {level}"  # noqa: S608
        await until(partial(monitor.rows, query))

    await monitor.publish(held(now, 8 * 10**8))
    await stands(1)
    await monitor.publish(held(now + timedelta(microseconds=1), 10**9))
    await stands(2)
    said = await monitor.said(QuotaNearing, QuotaExceeded)
    assert [(type(event), event.used) for event in said] == [(QuotaNearing, 8 * 10**8), (QuotaExceeded, 10**9)]
    entry = await monitor.js.get_last_msg(BUCKET, credential_subject(quota_name("default")))
    state = ProjectState.model_validate_json(entry.data or b"")
    cache.put(UsedUpQuotas(quota_name("default"), state.used_up, state.storage))
    with pytest.raises(QuotaUsedUp, match="storage_bytes.*delete versions"):
        gate.check_room("default")
    gate.check_room("other")
    assert cache.used_up("default") == (), "predictions go on"
    board = Board(monitor.service.database, 60)  # type: ignore[arg-type]
    await board.look()
    used, quotas = board.tables()
    assert ["default", "storage", 0, 0, 0.0, 0, 0, 10**9] in used.rows
    assert quotas.rows == [["default", "storage_bytes", 10**9, None, 10**9, "exceeded", None]]
    if datetime.now(UTC).hour == now.hour:
        [line] = (await ask(GetInvoice(month=f"{now:%Y-%m}"))).lines
        assert (line.unit, line.quantity, line.amount) == ("storage_gigabyte_hour", Decimal(1), Decimal("0.5"))
    await monitor.publish(held(now + timedelta(microseconds=2), 5))
    await stands(0)


async def test_registry_tells_what_each_project_keeps_and_counts_what_is_shared_once(
    registry: Running,
    settings_of: Callable[[str], ServiceSettings],
    nats: NatsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reads what a project keeps when that may be another by now, and once an hour."""
    read: list[str] = []

    async def reading(connection: Connection, project: str) -> set[str]:
        read.append(project)
        return await named(connection, project)

    named = store.held
    monkeypatch.setattr(store, "held", reading)
    artifacts = Artifacts(f"file://{tmp_path / 'artifacts'}")
    shared, other = await artifacts.put(b"x" * 100), await artifacts.put(b"y" * 11)
    database = Database(settings_of("registry"))
    holding = Holding(database, Relay(database, "registry"), artifacts, 60)
    async with asking(nats) as ask:
        await ask(RegisterDataset(name="a", digest="a" * 64, parts={"train": shared, "test": other}))
        await ask(RegisterDataset(name="b", digest="b" * 64, parts={"train": shared, "test": "0" * 64}))
        await ask(RegisterDataset(name="a", digest="a" * 64, parts={"train": shared}), project="elsewhere")
        await holding.look()
        await holding.look()
        assert sorted(read) == ["default", "elsewhere"]
        await ask(RegisterDataset(name="c", digest="c" * 64, parts={"train": shared}), project="elsewhere")
        await holding.look()
        assert read[2:] == ["elsewhere"]
        async with database.transaction() as tx:
            await store.delete_datasets(tx, [("elsewhere", "c", "c" * 64)])
            await tx.execute("UPDATE datasets SET used_at = now()")
        holding._seen["default"] = (1, NOON)
        await holding.look()
        assert sorted(read[3:]) == ["default", "elsewhere"]
    await database.close()

    async def told() -> dict[str, int]:
        state = (await registry.js.stream_info("USAGE")).state
        messages = [await registry.js.get_msg("USAGE", number) for number in range(1, state.messages + 1)]
        found = [StorageHeld.model_validate_json(message.data or b"") for message in messages]
        assert len(found) <= 2
        return {event.project: event.bytes_held for event in found} if len(found) == 2 else {}

    assert await until(told) == {"default": 111, "elsewhere": 100}
