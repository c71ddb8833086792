"""SQL of schedules."""

from datetime import datetime
from typing import Any

import asyncpg

from shared.db import Connection
from shared.errors import NotFound
from shared.rpc.trainer import PutSchedule, ScheduleView

COLUMNS = """project, name, cron, trigger AS on, task, enabled, overlap, actor, next_at, last_at, last_task, last_error,
created_at"""

# Keep a schedule, in the place of an earlier one of this name.
PUT = f"""
INSERT INTO schedules (project, name, cron, trigger, task, enabled, overlap, actor, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (project, name) DO UPDATE SET cron = excluded.cron, trigger = excluded.trigger, task = excluded.task,
    enabled = excluded.enabled, overlap = excluded.overlap, actor = excluded.actor, next_at = excluded.next_at,
    last_error = ''
RETURNING {COLUMNS}
"""
# One schedule of a project.
FIND = f"SELECT {COLUMNS} FROM schedules WHERE project = $1 AND name = $2"
# The schedules of a project.
LIST = f"SELECT {COLUMNS} FROM schedules WHERE project = $1 ORDER BY name"
# Forget a schedule; what it began goes on.
DELETE = "DELETE FROM schedules WHERE project = $1 AND name = $2 RETURNING name"
# A schedule whose time has come, for this transaction alone.
DUE = f"""
SELECT {COLUMNS} FROM schedules WHERE enabled AND next_at <= now() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# Whether any schedule is due.
IS_DUE = "SELECT EXISTS (SELECT FROM schedules WHERE enabled AND next_at <= now())"
# The schedules that wait for an event of this type.
TRIGGERED = f"""
SELECT {COLUMNS} FROM schedules WHERE enabled AND project = $1 AND trigger ->> 'event' = $2 ORDER BY name FOR UPDATE
"""
# Note that a schedule answers a chain of events; no row comes back when it did before.
TAKE_CHAIN = """
INSERT INTO schedule_chains (project, name, correlation_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING name
"""
# Chains end long before a month is over.
PRUNE_CHAINS = "DELETE FROM schedule_chains WHERE at < now() - interval '31 days'"
# Keep what became of a turn.
TURN = """
UPDATE schedules SET next_at = $3, last_at = now(), last_error = $5,
    last_task = CASE WHEN $4 = '' THEN last_task ELSE $4 END
WHERE project = $1 AND name = $2
"""
# Whether a task still goes on.
GOES_ON = "SELECT EXISTS (SELECT FROM tasks WHERE id = $1 AND ended_at IS NULL)"


async def put(tx: Connection, project: str, actor: str, asked: PutSchedule, next_at: datetime | None) -> ScheduleView:
    trigger = asked.on.model_dump(mode="json") if asked.on else None
    facts = (asked.cron, trigger, asked.task.model_dump(mode="json"), asked.enabled, asked.overlap, actor, next_at)
    row = await tx.fetchrow(PUT, project, asked.name, *facts)
    assert row is not None
    return _schedule(row)


async def find(tx: Connection, project: str, name: str) -> ScheduleView:
    """Raises NotFound."""
    row = await tx.fetchrow(FIND, project, name)
    if row is None:
        raise _missing(name)
    return _schedule(row)


async def schedules(tx: Connection, project: str) -> list[ScheduleView]:
    return [_schedule(row) for row in await tx.fetch(LIST, project)]


async def delete(tx: Connection, project: str, name: str) -> None:
    """Raises NotFound."""
    if await tx.fetchval(DELETE, project, name) is None:
        raise _missing(name)


async def is_due(connection: Connection) -> bool:
    return bool(await connection.fetchval(IS_DUE))


async def due(tx: Connection) -> ScheduleView | None:
    row = await tx.fetchrow(DUE)
    return None if row is None else _schedule(row)


async def triggered(tx: Connection, project: str, event: str) -> list[ScheduleView]:
    return [_schedule(row) for row in await tx.fetch(TRIGGERED, project, event)]


async def take_chain(tx: Connection, schedule: ScheduleView, correlation_id: str) -> bool:
    """Whether the schedule answers this chain for the first time."""
    return await tx.fetchval(TAKE_CHAIN, schedule.project, schedule.name, correlation_id) is not None


async def turn(
    tx: Connection, schedule: ScheduleView, next_at: datetime | None, task_id: str = "", error: str = ""
) -> None:
    await tx.execute(TURN, schedule.project, schedule.name, next_at, task_id, error)


async def goes_on(tx: Connection, task_id: str) -> bool:
    return bool(await tx.fetchval(GOES_ON, task_id))


def _schedule(row: asyncpg.Record) -> ScheduleView:
    facts: dict[str, Any] = dict(row)
    return ScheduleView.model_validate(facts)


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no schedule '{name}'", field="name")
