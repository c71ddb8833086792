"""All SQL of extensions."""

from typing import Any

import asyncpg

from services.auth.extensions.domain import MOST_EXTENSIONS, Extension
from shared.db import Connection
from shared.errors import Conflict, NotFound

COLUMNS = (
    "id, project, name, hears, says, starts_at, ack_wait, max_ack_pending, events_per_second, max_bytes, digest, "
    "created_by, created_at, changed_at, disabled_at"
)

# Those of an archived project are as good as disabled.
ARCHIVED = "(SELECT archived_at FROM projects WHERE projects.name = extensions.project)"
SHOWN = COLUMNS.replace("disabled_at", f"coalesce(disabled_at, {ARCHIVED}) AS disabled_at")

# One process at a time compares extensions with consumers, or changes either.
LOCK_ALL = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' extensions'))"
# How many a project has.
COUNT = "SELECT count(*) FROM extensions WHERE project = $1"
# Keep a new extension.
INSERT = f"""
INSERT INTO extensions ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
# The extensions of a project, or of all of them.
LIST = f"SELECT {SHOWN} FROM extensions WHERE $1::text IS NULL OR project = $1 ORDER BY project, name"
# One extension of a project.
FIND = f"SELECT {SHOWN} FROM extensions WHERE project = $1 AND name = $2"
# Keep what changed of one.
SAVE = "UPDATE extensions SET hears = $2, says = $3, digest = $4, changed_at = $5, disabled_at = $6 WHERE id = $1"
# Forget one.
DELETE = "DELETE FROM extensions WHERE id = $1"


def _extension(row: asyncpg.Record) -> Extension:
    fields: dict[str, Any] = dict(row)
    return Extension(**fields | {"hears": tuple(row["hears"])})


async def lock_all(tx: Connection) -> None:
    await tx.execute(LOCK_ALL)


async def insert(tx: Connection, extension: Extension) -> None:
    """Raises Conflict for a name that is taken, and for one too many."""
    if await tx.fetchval(COUNT, extension.project) >= MOST_EXTENSIONS:
        raise Conflict(f"a project has at most {MOST_EXTENSIONS} extensions: delete one first", field="name")
    if await tx.fetchrow(FIND, extension.project, extension.name) is not None:
        raise Conflict(f"there is an extension named {extension.name!r} already", field="name")
    values = [getattr(extension, column) for column in COLUMNS.split(", ")]
    await tx.execute(INSERT, *values)


async def listed(tx: Connection, project: str | None = None) -> list[Extension]:
    return [_extension(row) for row in await tx.fetch(LIST, project)]


async def known(tx: Connection, project: str, name: str) -> Extension | None:
    row = await tx.fetchrow(FIND, project, name)
    return None if row is None else _extension(row)


async def find(tx: Connection, project: str, name: str) -> Extension:
    if (found := await known(tx, project, name)) is None:
        raise NotFound(f"there is no extension named {name!r}", field="name")
    return found


async def save(tx: Connection, extension: Extension) -> None:
    facts = (extension.digest, extension.changed_at, extension.disabled_at)
    await tx.execute(SAVE, extension.id, list(extension.hears), extension.says, *facts)


async def delete(tx: Connection, extension: Extension) -> None:
    await tx.execute(DELETE, extension.id)
