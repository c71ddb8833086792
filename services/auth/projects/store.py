"""All SQL of projects and of the models that they share."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.auth.projects.domain import Project, Share
from shared.db import Connection
from shared.errors import Conflict, NotFound

COLUMNS = "name, title, created_by, created_at, archived_at"
# Keep a new project.
INSERT = f"INSERT INTO projects ({COLUMNS}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING name"
# All projects by name, or one of them.
LIST = f"SELECT {COLUMNS} FROM projects WHERE $1::text IS NULL OR name = $1 ORDER BY name"
# One project, held until the transaction ends.
LOCK = f"SELECT {COLUMNS} FROM projects WHERE name = $1 FOR UPDATE"
# Projects that are archived and whose entries in the bucket have these names, held.
LOCK_ARCHIVED = f"""
SELECT {COLUMNS} FROM projects WHERE archived_at IS NOT NULL AND 'project.' || name = ANY($1) ORDER BY name FOR UPDATE
"""
# Keep what changed of a project.
SAVE = "UPDATE projects SET title = $2, archived_at = $3 WHERE name = $1"
# Whether a project may be entered.
IS_OPEN = "SELECT EXISTS (SELECT FROM projects WHERE name = $1 AND archived_at IS NULL)"

SHARE_COLUMNS = "id, project, model, shared_to, level, created_by, created_at"
# Keep a share, or its level where there is one with the same.
SHARE = f"""
INSERT INTO shares ({SHARE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (project, model, shared_to) DO UPDATE SET level = excluded.level RETURNING {SHARE_COLUMNS}
"""
# One change of a project's shares at a time, so that the entry of a model has all of them.
LOCK_SHARES = "SELECT name FROM projects WHERE name = $1 FOR NO KEY UPDATE"
# To whom a model is shared.
SHARES = f"SELECT {SHARE_COLUMNS} FROM shares WHERE project = $1 AND model = $2 ORDER BY created_at, id"
# End a share.
UNSHARE = f"DELETE FROM shares WHERE project = $1 AND model = $2 AND id = $3 RETURNING {SHARE_COLUMNS}"
# Models whose entries in the bucket have these names.
SHARED_MODELS = """
SELECT DISTINCT project, model FROM shares WHERE 'share.' || project || '.' || model = ANY($1) ORDER BY project, model
"""


async def insert(tx: Connection, project: Project) -> None:
    """Raises Conflict for a name that there is, or ever was."""
    facts = (project.title, project.created_by, project.created_at, project.archived_at)
    if await tx.fetchval(INSERT, project.name, *facts) is None:
        raise Conflict(f"there is a project named {project.name!r} already", field="name")


async def listed(tx: Connection, name: str | None = None) -> list[Project]:
    return [Project(**dict(row)) for row in await tx.fetch(LIST, name)]


async def lock(tx: Connection, name: str) -> Project:
    row = await tx.fetchrow(LOCK, name)
    if row is None:
        raise NotFound(f"there is no project {name!r}", field="name")
    return Project(**dict(row))


async def lock_archived(tx: Connection, names: Sequence[str]) -> list[Project]:
    return [Project(**dict(row)) for row in await tx.fetch(LOCK_ARCHIVED, list(names))]


async def save(tx: Connection, project: Project) -> None:
    await tx.execute(SAVE, project.name, project.title, project.archived_at)


async def is_open(tx: Connection, name: str) -> bool:
    """Whether there is such a project, and it is not archived."""
    return bool(await tx.fetchval(IS_OPEN, name))


def _share(row: asyncpg.Record) -> Share:
    facts: dict[str, Any] = dict(row)
    return Share(**facts)


async def lock_shares(tx: Connection, project: str) -> None:
    await tx.execute(LOCK_SHARES, project)


async def share(tx: Connection, share: Share) -> Share:
    """The share as it is kept: one with the same project has its id and only changes its level."""
    facts = (share.level, share.created_by, share.created_at)
    row = await tx.fetchrow(SHARE, share.id, share.project, share.model, share.shared_to, *facts)
    assert row is not None
    return _share(row)


async def shares(tx: Connection, project: str, model: str) -> list[Share]:
    return [_share(row) for row in await tx.fetch(SHARES, project, model)]


async def unshare(tx: Connection, project: str, model: str, share_id: str) -> Share:
    row = await tx.fetchrow(UNSHARE, project, model, share_id)
    if row is None:
        raise NotFound(f"model {model!r} has no share with the id {share_id!r}", field="share_id")
    return _share(row)


async def shared_models(tx: Connection, names: Sequence[str]) -> list[tuple[str, str]]:
    """Project and model of these entries."""
    return [(row["project"], row["model"]) for row in await tx.fetch(SHARED_MODELS, list(names))]
