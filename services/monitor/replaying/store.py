"""All SQL of the rebuilding of projections: it fills tables beside those in use, and then puts them in their place."""

from datetime import datetime
from typing import Any, NamedTuple

from services.monitor.replaying.domain import REBUILT, Difference, State
from services.monitor.rows import kept_task_row
from services.monitor.store import INSERT_EVENT, PROJECT_TASK
from shared.db import Connection
from shared.events.tasks import TaskChanged

NEXT = "_next"
PATIENCE_SECONDS = 3600.0
LOCK_KEY = "replay"

# Only one process rebuilds at a time.
LOCK = "SELECT pg_try_advisory_lock(hashtext(current_schema() || $1))"
UNLOCK = "SELECT pg_advisory_unlock(hashtext(current_schema() || $1))"
# The generation that was begun and has not ended; one that rested for long has lost what the log has dropped since.
BEGUN = """
SELECT generation, position FROM replays WHERE ended_at IS NULL AND beat_at > now() - interval '1 hour'
ORDER BY generation DESC LIMIT 1
"""
END_OTHERS = "UPDATE replays SET ended_at = now() WHERE ended_at IS NULL"
BEGIN = "INSERT INTO replays DEFAULT VALUES RETURNING generation, position"
BEAT = "UPDATE replays SET beat_at = now(), position = $2 WHERE generation = $1"
END = "UPDATE replays SET beat_at = now(), ended_at = now() WHERE generation = $1"
# What was not rebuilt, as the log has it no more: older than its first message, or than the first of a full subject.
TAKE_OVER = """
INSERT INTO timeline_next SELECT * FROM timeline t
WHERE (position > 0 AND position < $1) OR (position = 0 AND at < $2)
    OR EXISTS (SELECT FROM unnest($3::text[], $4::text[], $5::bigint[]) AS full_ (project, type, first)
        WHERE full_.project = t.project AND full_.type = t.type AND t.position > 0 AND t.position < full_.first)
ON CONFLICT DO NOTHING
"""
# The tasks as they were at the edge.
BEGIN_TASKS = "INSERT INTO task_list_next SELECT * FROM task_edge"
# The first and the last event of each task: what it began as, and what it is.
TASK_EVENTS = """
SELECT DISTINCT ON (project, subject) project, subject, sequence, correlation_id, at, data FROM timeline_next
WHERE type = $1 AND position >= $2 ORDER BY project, subject, sequence {order}
"""
# The state of rows, as sums of the halves of their digests.
STATE = """
SELECT count(*) AS rows, coalesce(sum(high), 0)::text AS high, coalesce(sum(low), 0)::text AS low FROM (
    SELECT ('x' || left(digest, 16))::bit(64)::bigint AS high, ('x' || right(digest, 16))::bit(64)::bigint AS low
    FROM (SELECT md5(t::text) AS digest FROM {table} t WHERE {where}) AS digests
) AS halves
"""
# How rows differ from those beside them.
DIFFERENCE = """
SELECT count(*) FILTER (WHERE o.project IS NOT NULL AND n.project IS NOT NULL) AS changed,
    count(*) FILTER (WHERE o.project IS NULL) AS missing, count(*) FILTER (WHERE n.project IS NULL) AS surplus
FROM (SELECT * FROM {table} WHERE {where}) o FULL JOIN (SELECT * FROM {table}_next WHERE {where}) n USING ({key})
WHERE o IS DISTINCT FROM n
"""
KEYS = {"timeline": "project, source, id", "task_list": "project, id"}
# The indexes of a table, by what they index.
INDEXES = """
SELECT indexname AS name, regexp_replace(indexdef, '^.* USING ', '') AS what FROM pg_indexes
WHERE schemaname = current_schema() AND tablename = $1
"""


class Span(NamedTuple):
    """Rows of the timeline from a time on, after a position and up to another one."""

    since: datetime
    after: int
    until: int

    def where(self) -> tuple[str, list[Any]]:
        return "at >= $1 AND position > $2 AND position <= $3", list(self)


async def patiently(tx: Connection) -> None:
    """Let the statements of this transaction take their time."""
    await tx.execute("SET LOCAL statement_timeout = 0")


async def take_lock(connection: Connection) -> bool:
    return bool(await connection.fetchval(LOCK, LOCK_KEY))


async def release_lock(connection: Connection) -> None:
    await connection.execute(UNLOCK, LOCK_KEY)


async def begun(tx: Connection, anew: bool) -> tuple[int, int]:
    """Generation and position of the one to go on with, or of a new one with empty tables."""
    row = None if anew else await tx.fetchrow(BEGUN)
    if row is None:
        await tx.execute(END_OTHERS)
        for table in REBUILT:
            await tx.execute(f"DROP TABLE IF EXISTS {table}{NEXT}")
            await tx.execute(f"CREATE TABLE {table}{NEXT} (LIKE {table} INCLUDING ALL)")
        row = await tx.fetchrow(BEGIN)
    assert row is not None
    return row["generation"], row["position"]


async def add_events(tx: Connection, rows: list[tuple[Any, ...]]) -> None:
    await tx.executemany(INSERT_EVENT.replace("timeline", f"timeline{NEXT}"), rows)


async def beat(tx: Connection, generation: int, position: int) -> None:
    await tx.execute(BEAT, generation, position)


async def take_over(tx: Connection, first: int, first_at: datetime, full: list[tuple[str, str, int]]) -> int:
    """`full` are project, type and first position of subjects that keep no more; how many rows were taken over."""
    columns = [list(column) for column in zip(*full, strict=True)] or [[], [], []]
    done = await tx.execute(TAKE_OVER, first, first_at, *columns, timeout=PATIENCE_SECONDS)
    return int(done.rpartition(" ")[2])


async def begin_tasks(tx: Connection) -> None:
    await tx.execute(f"TRUNCATE task_list{NEXT}")
    await tx.execute(BEGIN_TASKS, timeout=PATIENCE_SECONDS)


async def fold_tasks(tx: Connection, since: int) -> None:
    """Put onto the tasks what their events from a position on say."""
    for order in ("ASC", "DESC"):
        query = TASK_EVENTS.format(order=order)
        rows = await tx.fetch(query, TaskChanged.type_name(), since, timeout=PATIENCE_SECONDS)
        values = [kept_task_row(dict(row)) for row in rows]
        project = PROJECT_TASK.replace("task_list", f"task_list{NEXT}")
        await tx.executemany(project, values, timeout=PATIENCE_SECONDS)


async def last_position(tx: Connection) -> int:
    return int(await tx.fetchval("SELECT coalesce(max(position), 0) FROM timeline"))


async def lock_projections(tx: Connection) -> None:
    """Nobody else writes or reads them until the transaction ends."""
    await tx.execute(f"LOCK TABLE {', '.join(REBUILT)} IN ACCESS EXCLUSIVE MODE")


async def state(tx: Connection, table: str, span: Span | None = None) -> State:
    where, values = span.where() if span else ("true", [])
    row = await tx.fetchrow(STATE.format(table=table, where=where), *values, timeout=PATIENCE_SECONDS)
    assert row is not None
    return State(row["rows"], int(row["high"]), int(row["low"]))


async def difference(tx: Connection, table: str, span: Span | None = None) -> Difference:
    where, values = span.where() if span else ("true", [])
    query = DIFFERENCE.format(table=table, where=where, key=KEYS[table])
    row = await tx.fetchrow(query, *values, timeout=PATIENCE_SECONDS)
    assert row is not None
    return Difference(**dict(row))


async def swap(tx: Connection, table: str) -> None:
    """Put the table beside in the place of the one in use, with the names of its indexes, which migrations know."""
    names = {row["what"]: row["name"] for row in await tx.fetch(INDEXES, table)}
    fresh = {row["what"]: row["name"] for row in await tx.fetch(INDEXES, f"{table}{NEXT}")}
    await tx.execute(f"DROP TABLE {table}")
    await tx.execute(f"ALTER TABLE {table}{NEXT} RENAME TO {table}")
    for what, name in fresh.items():
        await tx.execute(f'ALTER INDEX "{name}" RENAME TO "{names[what]}"')


async def end(tx: Connection, generation: int) -> None:
    await tx.execute(END, generation)
