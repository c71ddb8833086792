"""SQL of the queue: which tasks could run, which wait for others, and the taking of one that was admitted."""

from typing import Any

from shared.db import Connection
from shared.rpc.trainer import Wish
from shared.tasks.store import COLUMNS, Task, read_task
from shared.tasks.terms import Terms, needs

CLAIMABLE = """kind = ANY($1) AND (
    (state = 'TASK_STATE_QUEUED' AND run_after <= now() AND waits_for = '{}') OR
    (state = 'TASK_STATE_RUNNING' AND lease_until < now())
)"""

# The first tasks of each project that could run now, of each place where they could.
WISHES = f"""
SELECT id, project, kind, priority, created_at, terms FROM (
    SELECT *, row_number() OVER (
        PARTITION BY project, terms ->> 'place' ORDER BY priority DESC, created_at, id
    ) AS turn
    FROM tasks WHERE {CLAIMABLE}
) AS waiting WHERE turn <= $2 ORDER BY turn, created_at LIMIT 500
"""
# Take a task that waits or whose lease has ended; the fence rises with every holder.
CLAIM = f"""
UPDATE tasks SET state = 'TASK_STATE_RUNNING', fence = fence + 1, lease_owner = $3,
    lost = lost + (state = 'TASK_STATE_RUNNING')::int,
    lease_until = clock_timestamp() + make_interval(secs => $4), started_at = coalesce(started_at, now())
WHERE id = (SELECT id FROM tasks WHERE id = $2 AND {CLAIMABLE} FOR UPDATE SKIP LOCKED)
RETURNING {COLUMNS}
"""
# Tasks that wait for others, the oldest first, for this transaction alone.
HELD_UP = f"""
SELECT {COLUMNS} FROM tasks WHERE kind = ANY($1) AND state = 'TASK_STATE_QUEUED' AND waits_for <> '{{}}'
ORDER BY created_at LIMIT 50 FOR UPDATE SKIP LOCKED
"""
# What a task still waits for.
WAITS_FOR = f"UPDATE tasks SET waits_for = $2 WHERE id = $1 RETURNING {COLUMNS}"
# Say something of tasks that wait, unless it was said before.
NOTE = f"""
UPDATE tasks SET note = $2 WHERE id = ANY($1) AND state = 'TASK_STATE_QUEUED' AND note <> $2 RETURNING {COLUMNS}
"""


async def wishes(tx: Connection, kinds: list[str], most: int) -> list[Wish]:
    """What could run now, up to `most` tasks of each project."""
    return [_wish(dict(row)) for row in await tx.fetch(WISHES, kinds, most)]


def _wish(row: dict[str, Any]) -> Wish:
    kind, terms = row.pop("kind"), Terms.model_validate(row.pop("terms"))
    return Wish(task_id=row.pop("id"), needs=needs(kind, terms), place=terms.place, **row)


def wish_of(task: Task) -> Wish:
    return Wish(
        task_id=task.id,
        project=task.project,
        priority=task.priority,
        created_at=task.created_at,
        needs=needs(task.kind, task.terms),
        place=task.terms.place,
    )


async def claim(tx: Connection, kinds: list[str], task_id: str, owner: str, lease_seconds: float) -> Task | None:
    row = await tx.fetchrow(CLAIM, kinds, task_id, owner, lease_seconds)
    return None if row is None else read_task(row)


async def note(tx: Connection, task_ids: list[str], note: str) -> list[Task]:
    """The tasks of which this was not said before."""
    return [read_task(row) for row in await tx.fetch(NOTE, task_ids, note)]


async def held_up(tx: Connection, kinds: list[str]) -> list[Task]:
    return [read_task(row) for row in await tx.fetch(HELD_UP, kinds)]


async def wait_for(tx: Connection, task: Task, others: list[str]) -> Task:
    row = await tx.fetchrow(WAITS_FOR, task.id, others)
    assert row is not None
    return read_task(row)
