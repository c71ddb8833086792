"""All SQL of the audit."""

from collections.abc import AsyncIterator
from dataclasses import astuple, fields

from services.monitor.audit.domain import Entry, Head, chained
from shared.db import Connection
from shared.rpc.monitor import ListAudit

COLUMNS = ", ".join(field.name for field in fields(Entry))
PLACES = ", ".join(f"${place}" for place in range(1, len(fields(Entry)) + 1))
AT_ONCE = 1000

# The end of the chain; who writes waits for the one before.
LOCK_HEAD = "SELECT position, digest FROM audit_head FOR UPDATE"
# Whether an event is in the chain.
HAS = "SELECT 1 FROM audit WHERE source = $1 AND event_id = $2"
# Append an entry.
INSERT = f"INSERT INTO audit ({COLUMNS}) VALUES ({PLACES})"
# The chain ends there now.
MOVE_HEAD = "UPDATE audit_head SET position = $1, digest = $2"
# Entries of a project, newest first.
ENTRIES = f"""
SELECT {COLUMNS} FROM audit WHERE project = $1 AND ($2::text IS NULL OR actor = $2)
    AND ($3 = '' OR type = $3 OR type LIKE '%.' || $3) AND ($4 = '' OR subject = $4)
    AND ($5 = 0 OR position < $5)
ORDER BY position DESC LIMIT $6
"""
# The next entries of the chain.
NEXT = f"SELECT {COLUMNS} FROM audit WHERE position > $1 ORDER BY position LIMIT $2"


async def append(tx: Connection, entry: Entry) -> Entry | None:
    """The entry in its place; None for an event that is in the chain already."""
    head = await tx.fetchrow(LOCK_HEAD)
    assert head is not None
    if await tx.fetchval(HAS, entry.source, entry.event_id):
        return None
    placed = chained(entry, Head(**dict(head)))
    await tx.execute(INSERT, *astuple(placed))
    await tx.execute(MOVE_HEAD, placed.position, placed.digest)
    return placed


async def listed(tx: Connection, project: str, asked: ListAudit) -> list[Entry]:
    rows = await tx.fetch(ENTRIES, project, asked.actor, asked.type, asked.about, asked.before, asked.limit)
    return [Entry(**dict(row)) for row in rows]


async def chain(tx: Connection) -> AsyncIterator[list[Entry]]:
    """All entries, many at a time."""
    position = 0
    while rows := await tx.fetch(NEXT, position, AT_ONCE):
        yield [Entry(**dict(row)) for row in rows]
        position = rows[-1]["position"]
