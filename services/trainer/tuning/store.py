"""SQL of studies: the tasks that are their trials, and what people and pruners read of these."""

from collections.abc import Sequence
from typing import Any

from shared.db import Connection
from shared.tasks.store import COLUMNS, Task, read_task

# The trials of a study beside those that are known to have ended, in their order.
CHILDREN = f"""
SELECT {COLUMNS} FROM tasks WHERE parent = $1 AND spec ? 'trial' AND NOT id = ANY($2)
ORDER BY (spec -> 'trial' ->> 'number')::int
"""
# One trial, to be changed.
CHILD = f"SELECT {COLUMNS} FROM tasks WHERE id = $1 FOR UPDATE"
# Whether a task was accepted already.
IS_THERE = "SELECT EXISTS (SELECT FROM tasks WHERE id = $1)"
# The trials of a study that have not ended, to be changed.
GOING_ON = f"SELECT {COLUMNS} FROM tasks WHERE parent = $1 AND ended_at IS NULL ORDER BY created_at FOR UPDATE"
# A metric of some tasks by epoch.
CURVES = "SELECT task_id, epoch, value FROM task_metrics WHERE task_id = ANY($1) AND name = $2 ORDER BY epoch"
# How far some tasks are.
EPOCHS = "SELECT task_id, max(epoch) AS epochs FROM task_metrics WHERE task_id = ANY($1) GROUP BY task_id"
# What some tasks measure.
MEASURED = "SELECT DISTINCT name FROM task_metrics WHERE task_id = ANY($1)"
# Mark a trial.
MARK = f"""
UPDATE tasks SET spec = jsonb_set(spec, '{{trial}}', (spec -> 'trial') || $2), tags = $3 WHERE id = $1
RETURNING {COLUMNS}
"""


async def children(tx: Connection, study: str, but: Sequence[str] = ()) -> list[Task]:
    return [read_task(row) for row in await tx.fetch(CHILDREN, study, list(but))]


async def is_there(tx: Connection, task_id: str) -> bool:
    return bool(await tx.fetchval(IS_THERE, task_id))


async def child(tx: Connection, task_id: str) -> Task:
    """Locked."""
    row = await tx.fetchrow(CHILD, task_id)
    assert row is not None
    return read_task(row)


async def going_on(tx: Connection, study: str) -> list[Task]:
    """Locked."""
    return [read_task(row) for row in await tx.fetch(GOING_ON, study)]


async def curves(tx: Connection, task_ids: Sequence[str], metric: str) -> dict[str, dict[int, float]]:
    """By task and epoch."""
    found: dict[str, dict[int, float]] = {}
    for row in await tx.fetch(CURVES, list(task_ids), metric):
        found.setdefault(row["task_id"], {})[row["epoch"]] = row["value"]
    return found


async def epochs(tx: Connection, task_ids: Sequence[str]) -> dict[str, int]:
    return {row["task_id"]: row["epochs"] for row in await tx.fetch(EPOCHS, list(task_ids))}


async def measured(tx: Connection, task_ids: Sequence[str]) -> list[str]:
    return [row["name"] for row in await tx.fetch(MEASURED, list(task_ids))]


async def mark(tx: Connection, task: Task, facts: dict[str, Any], tag: str = "") -> Task:
    """Keep something of a locked trial, and a tag that people see."""
    tags = [*task.tags, *([tag] if tag and tag not in task.tags else [])]
    row = await tx.fetchrow(MARK, task.id, facts, tags)
    assert row is not None
    return read_task(row)
