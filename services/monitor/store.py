"""All SQL of monitor."""

from collections.abc import Iterable
from operator import itemgetter

from services.monitor.domain import Block, Loss, read_cursor
from services.monitor.rows import Row, kept_task_row, task_view
from shared.as_of import check_kept
from shared.db import Connection
from shared.events.predictions import PredictionsLogged
from shared.events.tasks import TaskChanged
from shared.rpc.monitor import (
    GetPredictionStatistics,
    GetTimeline,
    ListPredictions,
    ListTasks,
    PredictionSummary,
    PredictionView,
    TimelineEntry,
)
from shared.rpc.tasks import TaskView

PRUNE_ROWS = 5000
TIMELINE_BYTES = 700_000

# Keep an event once.
INSERT_EVENT = """
INSERT INTO timeline (project, source, id, type, subject, sequence, position, at, actor, correlation_id, causation_id,
    data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING
"""
# Put a task's newest state in the place of an older one.
PROJECT_TASK = """
INSERT INTO task_list (project, id, sequence, kind, service, model, state, progress, note, seconds_left, attempt,
    actor, correlation_id, error_class, error_message, parameters, result, created_at, started_at, ended_at, priority,
    tags, remark, waits_for, parent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25)
ON CONFLICT (project, id) DO UPDATE SET
    sequence = excluded.sequence, state = excluded.state, progress = excluded.progress, note = excluded.note,
    seconds_left = excluded.seconds_left, attempt = excluded.attempt, error_class = excluded.error_class,
    error_message = excluded.error_message, parameters = excluded.parameters, result = excluded.result,
    started_at = excluded.started_at, ended_at = excluded.ended_at, priority = excluded.priority,
    tags = excluded.tags, remark = excluded.remark, waits_for = excluded.waits_for
WHERE task_list.sequence < excluded.sequence
"""
# Keep the predictions of a message.
INSERT_BLOCK = """
INSERT INTO prediction_blocks (project, model, evaluation, count, first_id, last_id, first_at, last_at, ids, versions,
    statuses, latencies_us, batches, key_ids, trace_ids, times)
VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7), to_timestamp($8), $9, $10, $11, $12, $13, $14, $15, $16)
"""
# What is known of a node's counter of lost rows, locked until the transaction ends.
LOCK_LOSS = """
INSERT INTO losses (project, model, node, message_id, counter, total) VALUES ($1, $2, $3, '', 0, 0)
ON CONFLICT (project, model, node) DO UPDATE SET total = losses.total RETURNING message_id, counter, total
"""
# Keep what is known of a locked counter now.
KEEP_LOSS = """
UPDATE losses SET message_id = $4, counter = $5, total = $6 WHERE project = $1 AND model = $2 AND node = $3
"""
# How many rows were lost.
SUM_LOSSES = """
SELECT coalesce(sum(total), 0)::bigint FROM losses WHERE project = $1 AND ($2::text IS NULL OR model = $2)
"""
# Tasks of a project, newest first.
TASKS = """
SELECT project, id, kind, model, state, progress, note, seconds_left, attempt, actor, correlation_id, error_class,
    error_message, parameters, result, created_at, started_at, ended_at, priority, tags, remark, waits_for, parent
FROM task_list WHERE project = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR state = $3)
    AND ($4::text IS NULL OR model = $4) AND ($6::timestamptz IS NULL OR (created_at, id) < ($6, $7))
    AND ($8::text IS NULL OR tags @> ARRAY[$8]) AND ($9::text IS NULL OR parent = $9)
ORDER BY created_at DESC, id DESC LIMIT $5
"""
# Since when every change of a task is kept.
HISTORY_EDGE = "SELECT edge FROM history"
# Tasks of a project as they were at a time, newest first: by their last event up to then, or as they were at the edge.
TASKS_AS_OF = """
SELECT to_jsonb(t) AS listed, e.data, to_jsonb(g) AS edge FROM task_list t
LEFT JOIN LATERAL (
    SELECT data FROM timeline WHERE project = t.project AND subject = 'tasks/' || t.id AND type = $11 AND at <= $10
    ORDER BY sequence DESC LIMIT 1
) e ON true
LEFT JOIN task_edge g ON e.data IS NULL AND g.project = t.project AND g.id = t.id
WHERE t.project = $1 AND ($2::text IS NULL OR t.kind = $2) AND ($4::text IS NULL OR t.model = $4)
    AND ($6::timestamptz IS NULL OR (t.created_at, t.id) < ($6, $7)) AND ($9::text IS NULL OR t.parent = $9)
    AND ($12::text IS NULL OR t.id = $12) AND t.created_at <= $10 AND (e.data IS NOT NULL OR g.id IS NOT NULL)
    AND ($3::text IS NULL OR coalesce(lower(replace(e.data ->> 'state', 'TASK_STATE_', '')), g.state) = $3)
    AND ($8::text IS NULL OR coalesce(e.data -> 'tags', to_jsonb(g.tags)) ? $8)
ORDER BY t.created_at DESC, t.id DESC LIMIT $5
"""
# The newest predictions: none is in a block that ended before the oldest row of those newest blocks that have as many.
NEWEST = """
WITH blocks AS (
    SELECT first_at, sum(count) OVER (ORDER BY last_at DESC ROWS UNBOUNDED PRECEDING) - count AS newer
    FROM prediction_blocks WHERE project = $1 AND ($2::text IS NULL OR model = $2) AND ($3 OR NOT evaluation)
    ORDER BY last_at DESC LIMIT $4
), newest AS (
    SELECT * FROM predictions WHERE project = $1 AND ($2::text IS NULL OR model = $2) AND ($3 OR NOT evaluation)
        AND last_at >= (SELECT min(first_at) FROM blocks WHERE newer < $4)
    ORDER BY at DESC LIMIT $4
)
"""
AS_SHOWN = """
SELECT id, model, version, status, latency_us / 1000.0::float8 AS latency_ms, batch, key_id, trace_id, evaluation, at
"""
# Predictions of a project, newest first.
PREDICTIONS = NEWEST + AS_SHOWN + "FROM newest ORDER BY at DESC"
# One prediction, whatever its traffic; ids rise with time, so that few blocks come before its own.
PREDICTION = (
    AS_SHOWN
    + """
FROM predictions WHERE project = $1 AND id = $2 AND first_id <= $2 AND last_id >= $2 ORDER BY last_id LIMIT 1
"""
)
# Counts and latencies of the last seconds by version, without the evaluator's traffic.
STATISTICS = """
SELECT model, version, count, errors, ms[1] AS p50_ms, ms[2] AS p95_ms, ms[3] AS p99_ms FROM (
    SELECT model, version, count(*) AS count, count(*) FILTER (WHERE status >= 400) AS errors,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_us / 1000.0::float8) AS ms
    FROM predictions WHERE project = $1 AND ($2::text IS NULL OR model = $2) AND NOT evaluation
        AND at > now() - make_interval(secs => $3) AND last_at > now() - make_interval(secs => $3)
    GROUP BY model, version
) AS summaries ORDER BY model, version DESC
"""
# The oldest events of a chain, as many as fit into an answer; a task's events within one state are its progress.
CHAIN = """
WITH chain AS (
    SELECT *, type = $3 AND data ->> 'state' = lag(data ->> 'state')
        OVER (PARTITION BY source, subject, type ORDER BY sequence, at) AS is_progress
    FROM timeline WHERE project = $1 AND correlation_id = $2
), sized AS (
    SELECT *, sum(octet_length(data::text) + 500) OVER (ORDER BY at, source, id) AS size, count(*) OVER () AS total
    FROM chain WHERE $4 OR is_progress IS NOT TRUE
)
SELECT id, type, source, subject, sequence, position, at, actor, correlation_id, causation_id, data, total
FROM sized WHERE size <= $5 ORDER BY at, source, id LIMIT $6
"""
# Delete letters older than these days, a bounded number at a time.
PRUNE_LETTERS = """
WITH gone AS (
    DELETE FROM dead_letters WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM dead_letters WHERE at < now() - make_interval(secs => $1 * 86400) LIMIT $2)) RETURNING 1
) SELECT count(*) FROM gone
"""
# Delete blocks of predictions that are all older than these days, a bounded number at a time.
PRUNE_PREDICTIONS = PRUNE_LETTERS.replace("dead_letters", "prediction_blocks").replace("WHERE at", "WHERE last_at")
# Delete events older than these days, the oldest first, a bounded number at a time, but while a replay compares them.
PRUNE_TIMELINE = """
DELETE FROM timeline WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM timeline WHERE at < now() - make_interval(secs => $1 * 86400) ORDER BY at LIMIT $2))
    AND NOT EXISTS (SELECT FROM replays WHERE ended_at IS NULL AND beat_at > now() - interval '10 minutes')
RETURNING project, subject, sequence, correlation_id, at, CASE WHEN type = $3 THEN data END AS data
"""
# Since when every change is kept.
MOVE_EDGE = "UPDATE history SET edge = greatest(edge, now() - make_interval(secs => $1 * 86400))"


async def insert_events(tx: Connection, rows: list[Row]) -> None:
    await tx.executemany(INSERT_EVENT, rows)


async def project_tasks(tx: Connection, rows: list[Row]) -> None:
    """Older sequences of a task change nothing; in one order, so that two processes never deadlock."""
    await tx.executemany(PROJECT_TASK, sorted(rows, key=itemgetter(slice(3))))


async def insert_predictions(tx: Connection, project: str, model: str, blocks: Iterable[Block]) -> None:
    for block in blocks:
        await tx.execute(INSERT_BLOCK, project, model, *block.bounds, *block.columns)


async def lock_loss(tx: Connection, project: str, event: PredictionsLogged) -> Loss:
    row = await tx.fetchrow(LOCK_LOSS, project, event.model, event.node)
    assert row is not None
    return Loss(**dict(row))


async def keep_loss(tx: Connection, project: str, event: PredictionsLogged, loss: Loss) -> None:
    await tx.execute(KEEP_LOSS, project, event.model, event.node, loss.message_id, loss.counter, loss.total)


async def count_lost(tx: Connection, project: str, model: str | None) -> int:
    return int(await tx.fetchval(SUM_LOSSES, project, model))


async def list_tasks(tx: Connection, project: str, asked: ListTasks) -> list[TaskView]:
    """As many as were asked for, and one more if there is one."""
    filters = (asked.kind, asked.state, asked.model)
    page = (asked.limit + 1, *read_cursor(asked.cursor))
    wanted = (project, *filters, *page, asked.tag, asked.parent)
    if asked.as_of is None:
        return [TaskView(**dict(row)) for row in await tx.fetch(TASKS, *wanted)]
    check_kept(asked.as_of, await tx.fetchval(HISTORY_EDGE))
    rows = await tx.fetch(TASKS_AS_OF, *wanted, asked.as_of, TaskChanged.type_name(), asked.task_id)
    return [task_view(row["listed"], row["data"], row["edge"]) for row in rows]


async def list_predictions(tx: Connection, project: str, asked: ListPredictions) -> list[PredictionView]:
    if asked.prediction_id is None:
        rows = await tx.fetch(PREDICTIONS, project, asked.model, asked.evaluation, asked.limit)
        return [PredictionView(**dict(row)) for row in rows]
    found = await prediction(tx, project, asked.prediction_id)
    return [found] if found is not None and asked.model in (None, found.model) else []


async def prediction(tx: Connection, project: str, name: str) -> PredictionView | None:
    row = await tx.fetchrow(PREDICTION, project, name)
    return None if row is None else PredictionView(**dict(row))


async def summarise(tx: Connection, project: str, asked: GetPredictionStatistics) -> list[PredictionSummary]:
    rows = await tx.fetch(STATISTICS, project, asked.model, asked.seconds)
    return [PredictionSummary(**dict(row)) for row in rows]


async def chain(tx: Connection, project: str, asked: GetTimeline) -> tuple[list[TimelineEntry], int]:
    """The entries that are asked for and fit, and how many there are."""
    kind = TaskChanged.type_name()
    rows = await tx.fetch(CHAIN, project, asked.correlation_id, kind, asked.progress, TIMELINE_BYTES, asked.limit)
    return [TimelineEntry(**dict(row)) for row in rows], rows[0]["total"] if rows else 0


async def prune_timeline(tx: Connection, days: float) -> int:
    """Forget events; how tasks were at the end of them is kept. How many rows went, at most PRUNE_ROWS."""
    gone = await tx.fetch(PRUNE_TIMELINE, days, PRUNE_ROWS, TaskChanged.type_name())
    if gone:
        await tx.execute(MOVE_EDGE, days)
    changes = sorted((dict(row) for row in gone if row["data"]), key=lambda row: row["sequence"])
    first = {(row["project"], row["subject"]): row for row in reversed(changes)}
    last = {(row["project"], row["subject"]): row for row in changes}
    project = PROJECT_TASK.replace("task_list", "task_edge")
    await tx.executemany(project, [kept_task_row(row) for row in (*first.values(), *last.values())])
    return len(gone)


async def prune(tx: Connection, query: str, days: float) -> int:
    """How many rows went, at most PRUNE_ROWS."""
    return int(await tx.fetchval(query, days, PRUNE_ROWS))
