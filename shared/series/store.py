"""All SQL of the series of tasks; who appends holds the row of the task, so that nobody else does at that moment."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.db import Connection
from shared.errors import InvalidInput
from shared.series.columns import NUMBER, STEP, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_POINTS = 4096

# The last chunk of an attempt's series.
LAST_CHUNK = """
SELECT chunk, count, before FROM task_series WHERE task_id = $1 AND name = $2 AND fence = $3
ORDER BY chunk DESC LIMIT 1
"""
# What the last chunk of an attempt's series holds.
LAST_POINTS = """
SELECT steps, times, readings FROM task_series WHERE task_id = $1 AND name = $2 AND fence = $3
ORDER BY chunk DESC LIMIT 1
"""
# How many series a task has.
COUNT_NAMES = "SELECT count(DISTINCT name) FROM task_series WHERE task_id = $1 AND name <> $2"
# Begin a chunk.
INSERT_CHUNK = """
INSERT INTO task_series (task_id, name, fence, chunk, before, count, least, greatest, per_epoch, steps, times, readings)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
# Lengthen a chunk.
EXTEND_CHUNK = """
UPDATE task_series SET count = count + $5, least = least(least, $6), greatest = greatest(greatest, $7),
    per_epoch = coalesce($8, per_epoch), steps = steps || $9, times = times || $10, readings = readings || $11
WHERE task_id = $1 AND name = $2 AND fence = $3 AND chunk = $4
"""
# Forget what earlier attempts said of this step and of later ones.
DROP_LATER = "DELETE FROM task_series WHERE task_id = $1 AND name = $2 AND fence < $3 AND least >= $4"
# The chunks of earlier attempts that reach beyond a step.
REACHING = """
SELECT fence, chunk, steps, times, readings FROM task_series
WHERE task_id = $1 AND name = $2 AND fence < $3 AND greatest >= $4
"""
# Put a shorter chunk in place of one.
SHORTEN_CHUNK = """
UPDATE task_series SET count = $5, least = $6, greatest = $7, steps = $8, times = $9, readings = $10
WHERE task_id = $1 AND name = $2 AND fence = $3 AND chunk = $4
"""
# What series a task has.
NAMES = """
SELECT name, sum(count)::bigint AS count, max(per_epoch) AS per_epoch FROM task_series WHERE task_id = $1
GROUP BY name ORDER BY name
"""
# The points of a series within a range of steps, in the order in which they were said.
READ = """
SELECT steps, times, readings FROM task_series
WHERE task_id = $1 AND name = $2 AND greatest >= $3 AND least <= $4 ORDER BY fence, chunk
"""
# Two columns of the same, as a curve needs no more: a third less to read.
READ_STEPS = READ.replace("steps, times, readings", "steps AS x, readings AS y")
READ_TIMES = READ.replace("steps, times, readings", "times AS x, readings AS y")
# The scalars of the epochs of a task.
EPOCHS = """
SELECT name, epoch, extract(epoch FROM at)::double precision AS at, value FROM task_metrics
WHERE task_id = $1 ORDER BY name, epoch
"""
SERIES_MOST = 1000


@dataclass(frozen=True)
class Named:
    """A series: how many points it has, and how many of its steps make an epoch."""

    name: str
    count: int
    per_epoch: float | None


async def append(
    tx: Connection,
    task_id: str,
    fence: int,
    name: str,
    points: Columns,
    *,
    said: int | None = None,
    per_epoch: float | None = None,
) -> None:
    """Add points to a series, in the transaction that holds the task.

    `said` points did this attempt say before: what is there already, from a commit whose answer was lost, is not added
    again. The first points of an attempt replace those of earlier attempts from their first step on.
    Raises InvalidInput for one series too many.
    """
    last = await tx.fetchrow(LAST_CHUNK, task_id, name, fence)
    there = last["before"] + last["count"] if last else 0
    if said is not None and there > said:
        return
    if last is None:
        if await tx.fetchval(COUNT_NAMES, task_id, name) >= SERIES_MOST:
            raise InvalidInput(f"{name}: a task has at most {SERIES_MOST} series", field="name")
        await _cut(tx, task_id, name, fence, int(points.steps.min()))
    ends = (len(points), int(points.steps.min()), int(points.steps.max()), per_epoch)
    if last and last["count"] < CHUNK_POINTS:
        await tx.execute(EXTEND_CHUNK, task_id, name, fence, last["chunk"], *ends, *points.packed())
    else:
        chunk = last["chunk"] + 1 if last else 0
        await tx.execute(INSERT_CHUNK, task_id, name, fence, chunk, there, *ends, *points.packed())


async def ends_with(tx: Connection, task_id: str, fence: int, name: str, points: Columns) -> bool:
    """Whether these very points, times included, were the last to be added."""
    last = await tx.fetchrow(LAST_POINTS, task_id, name, fence)
    return last is not None and all(map(bytes.endswith, last, points.packed()))


async def _cut(tx: Connection, task_id: str, name: str, fence: int, first: int) -> None:
    await tx.execute(DROP_LATER, task_id, name, fence, first)
    for row in await tx.fetch(REACHING, task_id, name, fence, first):
        points = _unpacked(row)
        kept = points.where(points.steps < first)
        ends = (len(kept), int(kept.steps.min()), int(kept.steps.max()))
        await tx.execute(SHORTEN_CHUNK, task_id, name, row["fence"], row["chunk"], *ends, *kept.packed())


async def names(tx: Connection, task_id: str) -> list[Named]:
    return [Named(*row) for row in await tx.fetch(NAMES, task_id)]


async def read(tx: Connection, task_id: str, name: str, least: int, greatest: int) -> list[Any]:
    """The chunks of a series that hold steps of this range; `joined` makes points of them."""
    return await tx.fetch(READ, task_id, name, least, greatest)


async def read_curve(
    tx: Connection, task_id: str, name: str, least: int, greatest: int, *, timed: bool
) -> tuple[list[Any], bool]:
    """The same, of the steps or of the times and the values alone; `curve` makes arrays of it."""
    return await tx.fetch(READ_TIMES if timed else READ_STEPS, task_id, name, least, greatest), timed


async def epochs(tx: Connection, task_id: str) -> list[Any]:
    return await tx.fetch(EPOCHS, task_id)


def _unpacked(row: Any) -> Columns:
    return Columns.unpacked(row["steps"], row["times"], row["readings"])


def curve(rows: list[Any], timed: bool) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    """What runs along the axis, and the values."""
    x = [np.frombuffer(row["x"], NUMBER if timed else STEP) for row in rows]
    return _one(x, STEP), _one([np.frombuffer(row["y"], NUMBER) for row in rows], NUMBER)


def _one(parts: "list[NDArray[Any]]", kind: "np.dtype[Any]") -> "NDArray[Any]":
    return np.concatenate(parts) if parts else np.empty(0, kind)


def joined(rows: list[Any]) -> Columns:
    return Columns.joined(_unpacked(row) for row in rows)
