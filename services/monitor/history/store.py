"""All SQL of the log of events."""

from typing import Any

from shared.db import Connection
from shared.rpc.monitor import ListEvents, TimelineEntry
from shared.selection import Selection

PAGE_BYTES = 700_000
CLOCKS = 1000

# Events of a page; the conditions are those that are asked for, so that each finds its index.
PAGE = """
SELECT id, type, source, subject, sequence, position, at, actor, correlation_id, causation_id, data, found FROM (
    SELECT *, count(*) OVER () AS found, row_number() OVER (ORDER BY position {order}) AS number,
        sum(octet_length(data::text) + 500) OVER (ORDER BY position {order}) AS size
    FROM (SELECT * FROM timeline WHERE {where} ORDER BY position {order} LIMIT {limit}) AS page
) AS sized WHERE number = 1 OR size <= {bytes} ORDER BY position {order}
"""
# About where in the log a time is: whatever the clocks say, among so many events.
FIRST_SINCE = """
SELECT min(position) FROM (
    SELECT position FROM timeline WHERE at >= $1 AND position > 0 ORDER BY at LIMIT $2
) AS near
"""
LAST_UNTIL = """
SELECT max(position) FROM (
    SELECT position FROM timeline WHERE at < $1 AND position > 0 ORDER BY at DESC LIMIT $2
) AS near
"""


class Conditions:
    """The conditions of a query, and the values of their places."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: list[Any] = []

    def add(self, text: str, value: Any) -> None:
        self.values.append(value)
        self.texts.append(text.format(f"${len(self.values)}"))


async def page(tx: Connection, project: str, asked: ListEvents) -> tuple[list[TimelineEntry], bool]:
    """As many as were asked for and fit, and whether there are more."""
    conditions = await _conditions(tx, project, asked)
    query = PAGE.format(
        order="ASC" if asked.forwards else "DESC",
        where=" AND ".join(conditions.texts),
        limit=asked.limit + 1,
        bytes=PAGE_BYTES,
    )
    rows = await tx.fetch(query, *conditions.values)
    shown = [TimelineEntry(**dict(row)) for row in rows[: asked.limit]]
    return shown, bool(rows) and rows[0]["found"] > len(shown)


async def _conditions(tx: Connection, project: str, asked: ListEvents) -> Conditions:
    found = Conditions()
    found.add("project = {}", project)
    found.add("position > {}", asked.after or 0)
    if asked.before is not None:
        found.add("position < {}", asked.before)
    _select(found, asked.selection)
    await _limit_time(tx, found, asked.selection)
    return found


def _select(found: Conditions, wanted: Selection) -> None:
    if wanted.names_types:
        found.add("type = ANY({})", wanted.names())
    if wanted.about:
        found.add("subject = {}" if "/" in wanted.about else "starts_with(subject, {} || '/')", wanted.about)
    if wanted.correlation_id:
        found.add("correlation_id = {}", wanted.correlation_id)
    if wanted.actor:
        found.add("actor = {}", wanted.actor)


async def _limit_time(tx: Connection, found: Conditions, wanted: Selection) -> None:
    if wanted.since:
        found.add("at >= {}", wanted.since)
        found.add("position >= {}", await tx.fetchval(FIRST_SINCE, wanted.since, CLOCKS) or 0)
    if wanted.until:
        found.add("at < {}", wanted.until)
        found.add("position <= {}", await tx.fetchval(LAST_UNTIL, wanted.until, CLOCKS) or 0)
