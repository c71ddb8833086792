"""All SQL of invitations."""

from typing import Any

import asyncpg

from services.auth.invitations.domain import Invitation
from shared.db import Connection
from shared.errors import NotFound
from shared.permissions import Role

COLUMNS = "id, project, name, roles, digest, created_by, created_at, ends_at, accepted_at, revoked_at"

# Keep a new invitation.
INSERT = f"INSERT INTO invitations ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
# The invitations of a project that still count, the newest first.
LIST = f"""
SELECT {COLUMNS} FROM invitations
WHERE project = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND ends_at > now()
ORDER BY created_at DESC, id DESC LIMIT 1000
"""
# One invitation of a project, held until the transaction ends.
LOCK = f"SELECT {COLUMNS} FROM invitations WHERE project = $1 AND id = $2 FOR UPDATE"
# The invitation of a token, held, so that it is accepted once.
LOCK_TOKEN = f"SELECT {COLUMNS} FROM invitations WHERE digest = $1 FOR UPDATE"
# Keep that one was accepted or revoked.
SAVE = "UPDATE invitations SET accepted_at = $2, revoked_at = $3 WHERE id = $1"
# Whether a user has this name.
IS_TAKEN = "SELECT EXISTS (SELECT 1 FROM users WHERE name = $1)"
# Forget what nobody can accept any more.
PRUNE = "DELETE FROM invitations WHERE ends_at < now() - interval '30 days'"


def _invitation(row: asyncpg.Record) -> Invitation:
    fields: dict[str, Any] = dict(row)
    return Invitation(**fields | {"roles": tuple(Role(role) for role in row["roles"])})


async def insert(tx: Connection, invitation: Invitation) -> None:
    values: list[Any] = [getattr(invitation, column) for column in COLUMNS.split(", ")]
    values[3] = [role.value for role in invitation.roles]
    await tx.execute(INSERT, *values)


async def is_taken(tx: Connection, name: str) -> bool:
    return bool(await tx.fetchval(IS_TAKEN, name))


async def listed(tx: Connection, project: str) -> list[Invitation]:
    return [_invitation(row) for row in await tx.fetch(LIST, project)]


async def lock(tx: Connection, project: str, invitation_id: str) -> Invitation:
    row = await tx.fetchrow(LOCK, project, invitation_id)
    if row is None:
        raise NotFound(f"there is no invitation with the id {invitation_id!r}", field="invitation_id")
    return _invitation(row)


async def lock_token(tx: Connection, digest: str) -> Invitation:
    row = await tx.fetchrow(LOCK_TOKEN, digest)
    if row is None:
        raise NotFound("there is no such invitation: is the whole token there?", field="token")
    return _invitation(row)


async def save(tx: Connection, invitation: Invitation) -> None:
    await tx.execute(SAVE, invitation.id, invitation.accepted_at, invitation.revoked_at)


async def prune(tx: Connection) -> None:
    await tx.execute(PRUNE)
