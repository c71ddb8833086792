"""All SQL of dead letters."""

from dataclasses import fields
from typing import Any

from services.monitor.dead_letters.domain import Letter
from shared.db import Connection
from shared.errors import NotFound
from shared.rpc.monitor import ListDeadLetters

LATER = ("state", "at", "decided_by", "decided_at", "reason")
KEPT = tuple(field.name for field in fields(Letter) if field.name not in LATER)
COLUMNS = ", ".join((*KEPT, *LATER))
SHOWN = COLUMNS.replace("headers, payload", "'{}'::jsonb AS headers, ''::bytea AS payload")
PLACES = ", ".join(f"${place}" for place in range(1, len(KEPT) + 1))

# Keep a letter once.
INSERT = f"""
INSERT INTO dead_letters ({", ".join(KEPT)}) VALUES ({PLACES})
ON CONFLICT DO NOTHING
"""
# Up to where the stream was read.
LAST = "SELECT coalesce(max(position), 0) FROM dead_letters"
# Letters of a project, newest first, without what they hold.
LETTERS = f"""
SELECT {SHOWN} FROM dead_letters WHERE project = $1 AND ($2::text IS NULL OR service = $2)
    AND ($3::text IS NULL OR state = $3) AND ($4 = '' OR type = $4 OR type LIKE '%.' || $4)
ORDER BY at DESC, id LIMIT $5
"""
# How many letters of a project nobody has decided about.
COUNT_WAITING = "SELECT count(*) FROM dead_letters WHERE project = $1 AND state = 'waiting'"
# One letter of a project.
FIND = f"SELECT {COLUMNS} FROM dead_letters WHERE project = $1 AND id = $2"
# One letter, to be decided about.
FIND_FOR_UPDATE = f"{FIND} FOR UPDATE"
# The letters of a service that wait, oldest first, to be decided about.
WAITING = f"""
SELECT {COLUMNS} FROM dead_letters WHERE project = $1 AND service = $2 AND state = 'waiting'
    AND ($3 = '' OR type = $3 OR type LIKE '%.' || $3)
ORDER BY position LIMIT $4 FOR UPDATE
"""
# Note what was decided.
DECIDE = f"""
UPDATE dead_letters SET state = $2, decided_by = $3, reason = $4, decided_at = now() WHERE id = $1 RETURNING {COLUMNS}
"""


async def insert(tx: Connection, letter: Letter) -> None:
    await tx.execute(INSERT, *(getattr(letter, name) for name in KEPT))


async def last_position(tx: Connection) -> int:
    return int(await tx.fetchval(LAST))


async def listed(tx: Connection, project: str, asked: ListDeadLetters) -> list[Letter]:
    rows = await tx.fetch(LETTERS, project, asked.of, asked.state, asked.type, asked.limit)
    return [_letter(row) for row in rows]


async def count_waiting(tx: Connection, project: str) -> int:
    return int(await tx.fetchval(COUNT_WAITING, project))


async def find(tx: Connection, project: str, letter_id: str, *, lock: bool = False) -> Letter:
    """Raises NotFound for a letter of another project, too."""
    row = await tx.fetchrow(FIND_FOR_UPDATE if lock else FIND, project, letter_id)
    if row is None:
        raise NotFound(f"there is no dead letter '{letter_id}'", field="letter_id")
    return _letter(row)


async def waiting(tx: Connection, project: str, service: str, kind: str, most: int) -> list[Letter]:
    return [_letter(row) for row in await tx.fetch(WAITING, project, service, kind, most)]


async def decide(tx: Connection, letter: Letter, state: str, actor: str, reason: str = "") -> Letter:
    row = await tx.fetchrow(DECIDE, letter.id, state, actor, reason)
    assert row is not None
    return _letter(row)


def _letter(row: Any) -> Letter:
    return Letter(**dict(row))
