"""SQL of forecasts: what goes on, and how long its like took."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.monitor.forecasting.domain import Going, Past
from shared.db import Connection

LAST = 20

# What waits or runs, the oldest first.
GOING = """
SELECT project, id, kind, model, parameters, started_at, seconds_left, waits_for, state FROM task_list
WHERE state IN ('queued', 'running') ORDER BY created_at, id LIMIT 2000
"""
# The last tasks of some kinds and models that succeeded.
PAST = """
SELECT asked.project, asked.kind, asked.model, p.parameters, p.seconds
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (project, kind, model) CROSS JOIN LATERAL (
    SELECT parameters, extract(epoch FROM ended_at - started_at)::float8 AS seconds FROM task_list t
    WHERE t.project = asked.project AND t.kind = asked.kind AND t.model = asked.model AND t.state = 'succeeded'
        AND t.started_at IS NOT NULL
    ORDER BY t.ended_at DESC LIMIT $4
) AS p
"""
Like = tuple[str, str, str]


async def going(tx: Connection) -> tuple[list[Going], list[Going]]:
    """What waits, and what runs."""
    rows = await tx.fetch(GOING)
    waits = [_going(row) for row in rows if row["state"] == "queued"]
    return waits, [_going(row) for row in rows if row["state"] == "running"]


async def past(tx: Connection, likes: Sequence[Like]) -> dict[Like, list[Past]]:
    """By project, kind and model."""
    found: dict[Like, list[Past]] = {}
    columns = [[like[at] for like in likes] for at in range(3)]
    for row in await tx.fetch(PAST, *columns, LAST):
        like = (row["project"], row["kind"], row["model"])
        found.setdefault(like, []).append(Past(row["parameters"], row["seconds"]))
    return found


def _going(row: asyncpg.Record) -> Going:
    facts: dict[str, Any] = {name: row[name] for name in ("kind", "model", "parameters", "started_at", "seconds_left")}
    return Going(key=(row["project"], row["id"]), waits_for=tuple(row["waits_for"]), **facts)
