"""All SQL of deferred requests. Leases are measured by the database's clock; each write of a holder names its fence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import asyncpg

from services.inference.deferred.domain import Inference, State, is_final, move
from services.inference.domain import HELD_STATES
from shared import frames
from shared.context import Context
from shared.db import Connection
from shared.errors import NotFound
from shared.rpc.inference import DeferInference

_NAMES = tuple(one.name for one in fields(Inference))
COLUMNS = ", ".join(_NAMES)

# Requests of a project that is nearly full are accepted one at a time, so that they are counted.
LOCK_PROJECT = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '/deferred/' || $1))"
# The requests of a project without an answer, and the size of their bodies.
PENDING = """
SELECT count(*) AS count, coalesce(sum(size), 0)::bigint AS size FROM inferences
WHERE project = $1 AND state IN ('queued', 'running')
"""
# Whether a version, or where none is named that of the route, is wanted in Triton.
IS_DEPLOYED = """
SELECT EXISTS (SELECT FROM deployments WHERE project = $1 AND model = $2 AND state = ANY($4) AND version = coalesce(
    $3, (SELECT version FROM routes WHERE project = $1 AND model = $2)))
"""
# Accept a request.
INSERT = f"""
INSERT INTO inferences (id, project, model, version, size, header_length, webhook, context)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {COLUMNS}
"""
# One request of a project.
FIND = f"SELECT {COLUMNS} FROM inferences WHERE project = $1 AND id = $2"
# Requests of a project, newest first.
LIST = f"""
SELECT {COLUMNS} FROM inferences WHERE project = $1 AND ($2::text IS NULL OR model = $2)
AND ($3::text IS NULL OR state = $3) ORDER BY created_at DESC, id DESC LIMIT $4
"""
# Take requests for these models, which other projects name `<project>.<model>`, that wait, or whose lease has ended,
# and all that waited for too long: of projects of which few are in work before others, then the oldest.
CLAIM = f"""
UPDATE inferences SET state = 'running', fence = fence + 1, attempts = attempts + (state = 'running')::int,
    lease_until = clock_timestamp() + make_interval(secs => $3), started_at = coalesce(started_at, now())
WHERE id IN (
    SELECT id FROM inferences LEFT JOIN (
        SELECT project, count(*) AS held FROM inferences WHERE state = 'running' GROUP BY project
    ) busy USING (project)
    WHERE (state = 'queued' AND run_after <= now() OR state = 'running' AND lease_until < now())
    AND ((project, model) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        OR model IN (SELECT owner || '.' || name FROM unnest($1::text[], $2::text[]) AS served (owner, name))
        OR created_at < now() - make_interval(secs => $4))
    ORDER BY coalesce(busy.held, 0), created_at LIMIT $5 FOR UPDATE OF inferences SKIP LOCKED
)
RETURNING {COLUMNS}, created_at < now() - make_interval(secs => $4) AS is_late
"""
# Prolong leases that are still ours.
RENEW = """
UPDATE inferences SET lease_until = clock_timestamp() + make_interval(secs => $3)
FROM unnest($1::text[], $2::bigint[]) AS held (id, fence)
WHERE inferences.id = held.id AND inferences.fence = held.fence AND state = 'running' RETURNING inferences.id
"""
# Lock a request that we still hold.
HOLD = f"SELECT {COLUMNS} FROM inferences WHERE id = $1 AND fence = $2 AND state = 'running' FOR UPDATE"
# Give a request back, to be taken again after a rest.
POSTPONE = f"""
UPDATE inferences SET state = 'queued', lease_until = NULL, note = $2, attempts = $3,
    run_after = now() + make_interval(secs => $4)
WHERE id = $1 RETURNING {COLUMNS}
"""
# Keep what the answer is; where a webhook is named it is to be told.
CONCLUDE = f"""
UPDATE inferences SET state = $2, lease_until = NULL, note = $3, attempts = attempts + 1, ended_at = now(),
    status = $4, reply_version = $5, reply_header_length = $6, reply_size = $7, retry_after = $8,
    delivery = CASE WHEN webhook IS NOT NULL THEN 'waiting' END,
    deliver_after = CASE WHEN webhook IS NOT NULL THEN now() END
WHERE id = $1 RETURNING {COLUMNS}
"""
# End a request without an answer.
CANCEL = f"""
UPDATE inferences SET state = 'cancelled', lease_until = NULL, ended_at = now() WHERE id = $1 RETURNING {COLUMNS}
"""
# Forget requests that ended a while ago and of which nobody is to be told any more.
FORGET = f"""
DELETE FROM inferences WHERE id IN (
    SELECT id FROM inferences WHERE ended_at < now() - make_interval(secs => $1)
    AND delivery IS DISTINCT FROM 'waiting' LIMIT $2 FOR UPDATE SKIP LOCKED
) RETURNING {COLUMNS}
"""
# Requests by their ids.
FIND_ALL = f"SELECT {COLUMNS} FROM inferences WHERE id = ANY($1)"


@dataclass(frozen=True)
class Taken:
    """A request that this process holds, and whether it waited for too long already."""

    inference: Inference
    is_late: bool


def inference_of(row: asyncpg.Record) -> Inference:
    """The request in a row that has these columns, and maybe others."""
    values = {name: row[name] for name in _NAMES}
    return Inference(**values | {"state": State(row["state"])})


async def _changed(tx: Connection, query: str, *values: object) -> Inference:
    row = await tx.fetchrow(query, *values)
    assert row is not None
    return inference_of(row)


async def lock_project(tx: Connection, project: str) -> None:
    """Let nobody else who locks accept for the project until the end of `tx`."""
    await tx.execute(LOCK_PROJECT, project)


async def pending(tx: Connection, project: str) -> tuple[int, int]:
    """How many requests of the project have no answer, and the size of their bodies."""
    row = await tx.fetchrow(PENDING, project)
    assert row is not None
    return row["count"], row["size"]


async def is_deployed(tx: Connection, project: str, model: str, version: int | None) -> bool:
    return bool(await tx.fetchval(IS_DEPLOYED, project, model, version, list(HELD_STATES)))


async def insert(tx: Connection, asked: DeferInference, context: Context) -> Inference:
    facts = (asked.model, asked.version, asked.size, asked.header_length, asked.webhook)
    return await _changed(tx, INSERT, asked.id, context.project, *facts, context.to_headers())


async def find(tx: Connection, project: str, inference_id: str, *, lock: bool = False) -> Inference:
    """One request; raises NotFound."""
    row = await tx.fetchrow(f"{FIND} FOR UPDATE" if lock else FIND, project, inference_id)
    if row is None:
        raise NotFound(f"there is no inference {inference_id}, or no longer")
    return inference_of(row)


async def recent(tx: Connection, project: str, model: str | None, state: str | None, limit: int) -> list[Inference]:
    return [inference_of(row) for row in await tx.fetch(LIST, project, model, state, limit)]


async def claim(
    tx: Connection, models: Iterable[tuple[str, str]], lease_seconds: float, most_seconds: float, limit: int
) -> list[Taken]:
    """Take requests for models that are ready here, and those that are older than `most_seconds`."""
    served = list(models)
    names = [project for project, _ in served], [model for _, model in served]
    rows = await tx.fetch(CLAIM, *names, lease_seconds, most_seconds, limit)
    return [Taken(inference_of(row), row["is_late"]) for row in rows]


async def renew(tx: Connection, held: Sequence[Inference], lease_seconds: float) -> set[str]:
    """Prolong the leases of these; returns the ids of those that are still ours."""
    ids, fences = [one.id for one in held], [one.fence for one in held]
    return {row["id"] for row in await tx.fetch(RENEW, ids, fences, lease_seconds)}


async def hold(tx: Connection, inference: Inference) -> Inference | None:
    """The request, locked; None where it is not ours any more."""
    row = await tx.fetchrow(HOLD, inference.id, inference.fence)
    return None if row is None else inference_of(row)


async def postpone(tx: Connection, held: Inference, note: str, seconds: float, *, attempts: int) -> Inference:
    move(held.state, State.QUEUED)
    return await _changed(tx, POSTPONE, held.id, note, attempts, seconds)


async def conclude(tx: Connection, held: Inference, to: State, reply: frames.Reply, note: str) -> Inference:
    """Keep what the answer of a locked request is."""
    assert is_final(move(held.state, to))
    facts = (reply.status, reply.version, reply.header_length, len(reply.body), reply.retry_after)
    return await _changed(tx, CONCLUDE, held.id, to.value, note, *facts)


async def cancel(tx: Connection, locked: Inference) -> Inference:
    """End a locked request; raises Conflict where it has an answer."""
    if locked.state is State.CANCELLED:
        return locked
    move(locked.state, State.CANCELLED)
    return await _changed(tx, CANCEL, locked.id)


async def forget(tx: Connection, seconds: float, limit: int) -> list[Inference]:
    return [inference_of(row) for row in await tx.fetch(FORGET, seconds, limit)]


async def find_all(tx: Connection, ids: Sequence[str]) -> dict[str, Inference]:
    return {row["id"]: inference_of(row) for row in await tx.fetch(FIND_ALL, ids)}
