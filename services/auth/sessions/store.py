"""All SQL of sessions."""

from datetime import timedelta
from typing import Any

import asyncpg

from services.auth.sessions.domain import Session
from shared.db import Connection
from shared.errors import NotFound

COLUMNS = (
    "id, user_id, project, epoch, chain, token_digest, turns, address, created_at, last_used_at, ends_at, ended_at"
)
MOST_SHOWN = 200

# Keep a new session.
INSERT = f"INSERT INTO sessions ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
# Whose session this is, by the user's own project and id.
OWNER = "SELECT users.project, user_id FROM sessions JOIN users ON users.id = user_id WHERE sessions.id = $1"
# One session, held; its user is held before.
LOCK = f"SELECT {COLUMNS} FROM sessions WHERE id = $1 FOR UPDATE"
# Keep what a refresh, or the end, changed.
SAVE = """
UPDATE sessions SET token_digest = $2, turns = $3, address = $4, last_used_at = $5, ended_at = $6 WHERE id = $1
"""
# The sessions of a user since all of them ended last.
LIST = f"""
SELECT {COLUMNS} FROM sessions WHERE user_id = $1 AND epoch = $2 AND ended_at IS NULL
ORDER BY last_used_at DESC, id DESC LIMIT {MOST_SHOWN}
"""
# Forget sessions that nobody can go on with.
PRUNE = """
DELETE FROM sessions WHERE ends_at < now() OR last_used_at + $1 < now() OR ended_at < now() - interval '1 day'
"""


def _session(row: asyncpg.Record) -> Session:
    fields: dict[str, Any] = dict(row)
    return Session(**fields)


async def insert(tx: Connection, session: Session) -> None:
    await tx.execute(INSERT, *(getattr(session, column) for column in COLUMNS.split(", ")))


async def owner(tx: Connection, session_id: str) -> tuple[str, str] | None:
    row = await tx.fetchrow(OWNER, session_id)
    return None if row is None else (row["project"], row["user_id"])


async def lock(tx: Connection, user_id: str, session_id: str) -> Session:
    row = await tx.fetchrow(LOCK, session_id)
    if row is None or row["user_id"] != user_id:
        raise NotFound(f"you have no session with the id {session_id!r}", field="session_id")
    return _session(row)


async def save(tx: Connection, session: Session) -> None:
    used = (session.token_digest, session.turns, session.address, session.last_used_at)
    await tx.execute(SAVE, session.id, *used, session.ended_at)


async def listed(tx: Connection, user_id: str, epoch: int) -> list[Session]:
    return [_session(row) for row in await tx.fetch(LIST, user_id, epoch)]


async def prune(tx: Connection, idle: timedelta) -> None:
    await tx.execute(PRUNE, idle)
