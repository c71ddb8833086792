"""All SQL of auth."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.auth.domain import ApiKey
from shared.db import Connection
from shared.errors import NotFound
from shared.permissions import Role

COLUMNS = "id, project, name, roles, prefix, digest, created_by, created_at, expires_at, revoked_at"

# Keep a new key.
INSERT = f"INSERT INTO api_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
# The keys of a project, newest first.
LIST = f"SELECT {COLUMNS} FROM api_keys WHERE project = $1 ORDER BY created_at DESC, id DESC"
# One key of a project, held until the transaction ends.
LOCK = f"SELECT {COLUMNS} FROM api_keys WHERE project = $1 AND id = $2 FOR UPDATE"
# The admin keys of a project that are not revoked, held, so that two people cannot revoke the last two at once.
LOCK_ADMINS = f"""
SELECT {COLUMNS} FROM api_keys WHERE project = $1 AND 'admin' = ANY(roles) AND revoked_at IS NULL
ORDER BY id FOR UPDATE
"""
# Refuse a key from now on.
REVOKE = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1"
# One process at a time looks whether there is an admin key.
LOCK_BOOTSTRAP = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' admin key'))"
# Whether anybody can still make keys.
HAS_ADMIN = """
SELECT EXISTS (SELECT 1 FROM api_keys WHERE 'admin' = ANY(roles) AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > now()))
"""
# The digests of all keys that count.
ACTIVE_DIGESTS = "SELECT digest FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
# Keys by digest that still count, held, so that a revoke comes before or after but not in between.
LOCK_ACTIVE = f"SELECT {COLUMNS} FROM api_keys WHERE digest = ANY($1) AND revoked_at IS NULL ORDER BY id FOR UPDATE"


def _key(row: asyncpg.Record) -> ApiKey:
    fields: dict[str, Any] = dict(row)
    return ApiKey(**fields | {"roles": tuple(Role(role) for role in row["roles"])})


async def insert(tx: Connection, key: ApiKey) -> None:
    roles = [role.value for role in key.roles]
    facts = (key.created_by, key.created_at, key.expires_at, key.revoked_at)
    await tx.execute(INSERT, key.id, key.project, key.name, roles, key.prefix, key.digest, *facts)


async def list_keys(tx: Connection, project: str) -> list[ApiKey]:
    return [_key(row) for row in await tx.fetch(LIST, project)]


async def lock_admins(tx: Connection, project: str) -> list[ApiKey]:
    return [_key(row) for row in await tx.fetch(LOCK_ADMINS, project)]


async def lock(tx: Connection, project: str, key_id: str) -> ApiKey:
    row = await tx.fetchrow(LOCK, project, key_id)
    if row is None:
        raise NotFound(f"there is no API key with the id {key_id!r}", field="key_id")
    return _key(row)


async def save_revoked(tx: Connection, key: ApiKey) -> None:
    await tx.execute(REVOKE, key.id, key.revoked_at)


async def lock_bootstrap(tx: Connection) -> None:
    await tx.execute(LOCK_BOOTSTRAP)


async def has_admin(tx: Connection) -> bool:
    return bool(await tx.fetchval(HAS_ADMIN))


async def active_digests(tx: Connection) -> set[str]:
    return {row["digest"] for row in await tx.fetch(ACTIVE_DIGESTS)}


async def lock_active(tx: Connection, digests: Sequence[str]) -> list[ApiKey]:
    return [_key(row) for row in await tx.fetch(LOCK_ACTIVE, list(digests))]
