"""All SQL of auth."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.auth.domain import ApiKey
from services.auth.tokens import SigningKey
from services.auth.users import Attempts, User
from shared.db import Connection
from shared.errors import Conflict, NotFound
from shared.permissions import Role

COLUMNS = (
    "id, project, name, roles, prefix, digest, created_by, created_at, expires_at, revoked_at, bounds, last_used_at"
)

# Keep a new key.
INSERT = f"INSERT INTO api_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
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
# One process at a time looks whether there is an admin key, or a key that signs.
LOCK_BOOTSTRAP = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' ' || $1))"
# Whether anybody can still make keys of the platform.
HAS_ADMIN = """
SELECT EXISTS (SELECT 1 FROM api_keys WHERE project = 'default' AND 'admin' = ANY(roles) AND revoked_at IS NULL
               AND (expires_at IS NULL OR expires_at > now()))
"""
# The names in the bucket of all that counts: keys by digest, users, keys that sign, archived projects, shares.
ACTIVE_NAMES = """
SELECT digest AS name FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
UNION ALL SELECT r.digest FROM rotated_secrets r JOIN api_keys k ON k.id = r.key_id
          WHERE r.counts_until > now() AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
UNION ALL SELECT 'user.' || id FROM users WHERE disabled_at IS NULL
UNION ALL SELECT 'user.' || id FROM service_accounts
UNION ALL SELECT 'signing.' || kid FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()
UNION ALL SELECT 'role.' || CASE project WHEN '*' THEN 'ALL' ELSE project END || '.' || name FROM custom_roles
UNION ALL SELECT 'project.' || name FROM projects WHERE archived_at IS NOT NULL
UNION ALL SELECT DISTINCT 'share.' || project || '.' || model FROM shares
"""
# Keys by digest that still count, held, so that a revoke comes before or after but not in between.
LOCK_ACTIVE = f"SELECT {COLUMNS} FROM api_keys WHERE digest = ANY($1) AND revoked_at IS NULL ORDER BY id FOR UPDATE"
# The same by their ids.
LOCK_ACTIVE_IDS = f"""
SELECT {COLUMNS} FROM api_keys WHERE id = ANY($1) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
ORDER BY id FOR UPDATE
"""

USER_COLUMNS = "id, project, name, roles, password_hash, epoch, created_by, created_at, disabled_at, ended_sessions"
# Keep a new user.
INSERT_USER = f"INSERT INTO users ({USER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
# The users of a project, newest first.
LIST_USERS = f"SELECT {USER_COLUMNS} FROM users WHERE project = $1 ORDER BY created_at DESC, id DESC"
# Who has this name, in any project.
FIND_USER = f"SELECT {USER_COLUMNS} FROM users WHERE name = $1"
# The name of a user.
FIND_NAME = "SELECT name FROM users WHERE id = $1"
# One user, held until the transaction ends.
LOCK_USER = f"SELECT {USER_COLUMNS} FROM users WHERE id = $1 FOR UPDATE"
# Users by their names in the bucket who may log in, held, so that a change comes before or after.
LOCK_ENABLED = f"""
SELECT {USER_COLUMNS} FROM users WHERE 'user.' || id = ANY($1) AND disabled_at IS NULL ORDER BY id FOR UPDATE
"""
# Keep what changed of a user.
SAVE_USER = """
UPDATE users SET roles = $2, password_hash = $3, epoch = $4, disabled_at = $5, ended_sessions = $6 WHERE id = $1
"""

# Begin to count the attempts under a name.
BEGIN_ATTEMPTS = "INSERT INTO login_attempts (name_digest) VALUES ($1) ON CONFLICT DO NOTHING"
# The attempts under a name or from an address, held, so that two at once count as two.
LOCK_ATTEMPTS = "SELECT failures, blocked_until, last_at FROM login_attempts WHERE name_digest = $1 FOR UPDATE"
# Keep the count.
SAVE_ATTEMPTS = "UPDATE login_attempts SET failures = $2, blocked_until = $3, last_at = $4 WHERE name_digest = $1"
# A success ends the count.
FORGET_ATTEMPTS = "DELETE FROM login_attempts WHERE name_digest = $1"
# One attempt from an address was none that failed.
UNCOUNT_ATTEMPT = "UPDATE login_attempts SET failures = greatest(failures - 1, 0) WHERE name_digest = $1"
# Old counts are of no use: names that nobody has are counted too.
PRUNE_ATTEMPTS = "DELETE FROM login_attempts WHERE last_at < now() - interval '1 hour'"

# All keys that sign or that tokens may still be signed with.
SIGNING_KEYS = "SELECT kid, public, created_at, retires_at FROM signing_keys ORDER BY created_at"
# Keep the public half of a new key.
INSERT_SIGNING_KEY = "INSERT INTO signing_keys (kid, public, created_at) VALUES ($1, $2, $3)"
# Sign with a key no more, and count its tokens for a while.
RETIRE_SIGNING_KEY = "UPDATE signing_keys SET retires_at = $2 WHERE kid = $1"
# Forget a key whose last token has ended.
DELETE_SIGNING_KEY = "DELETE FROM signing_keys WHERE kid = $1"


def key_of(row: asyncpg.Record | dict[str, Any]) -> ApiKey:
    fields: dict[str, Any] = dict(row)
    return ApiKey(**fields | {"roles": tuple(Role(role) for role in row["roles"])})


async def insert(tx: Connection, key: ApiKey) -> None:
    roles = [role.value for role in key.roles]
    facts = (key.created_by, key.created_at, key.expires_at, key.revoked_at, key.bounds, key.last_used_at)
    await tx.execute(INSERT, key.id, key.project, key.name, roles, key.prefix, key.digest, *facts)


async def list_keys(tx: Connection, project: str) -> list[ApiKey]:
    return [key_of(row) for row in await tx.fetch(LIST, project)]


async def lock_admins(tx: Connection, project: str) -> list[ApiKey]:
    return [key_of(row) for row in await tx.fetch(LOCK_ADMINS, project)]


async def lock(tx: Connection, project: str, key_id: str) -> ApiKey:
    row = await tx.fetchrow(LOCK, project, key_id)
    if row is None:
        raise NotFound(f"there is no API key with the id {key_id!r}", field="key_id")
    return key_of(row)


async def save_revoked(tx: Connection, key: ApiKey) -> None:
    await tx.execute(REVOKE, key.id, key.revoked_at)


async def lock_bootstrap(tx: Connection, what: str) -> None:
    await tx.execute(LOCK_BOOTSTRAP, what)


async def has_admin(tx: Connection) -> bool:
    return bool(await tx.fetchval(HAS_ADMIN))


async def active_names(tx: Connection) -> set[str]:
    return {row["name"] for row in await tx.fetch(ACTIVE_NAMES)}


async def lock_active(tx: Connection, digests: Sequence[str]) -> list[ApiKey]:
    return [key_of(row) for row in await tx.fetch(LOCK_ACTIVE, list(digests))]


async def lock_active_ids(tx: Connection, ids: Sequence[str]) -> list[ApiKey]:
    return [key_of(row) for row in await tx.fetch(LOCK_ACTIVE_IDS, list(ids))]


def _user(row: asyncpg.Record) -> User:
    fields: dict[str, Any] = dict(row)
    return User(**fields | {"roles": tuple(Role(role) for role in row["roles"])})


async def insert_user(tx: Connection, user: User) -> None:
    """Raises Conflict for a name that somebody has, in whatever project: people log in by name alone."""
    roles = [role.value for role in user.roles]
    facts: tuple[Any, ...] = (user.password_hash, user.epoch, user.created_by, user.created_at, user.disabled_at, {})
    try:
        await tx.execute(INSERT_USER, user.id, user.project, user.name, roles, *facts)
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"there is a user named '{user.name}' already", field="name") from error


async def list_users(tx: Connection, project: str) -> list[User]:
    return [_user(row) for row in await tx.fetch(LIST_USERS, project)]


async def find_user(tx: Connection, name: str) -> User | None:
    row = await tx.fetchrow(FIND_USER, name)
    return None if row is None else _user(row)


async def find_name(tx: Connection, user_id: str) -> str | None:
    name: str | None = await tx.fetchval(FIND_NAME, user_id)
    return name


async def lock_user(tx: Connection, project: str, user_id: str) -> User:
    row = await tx.fetchrow(LOCK_USER, user_id)
    if row is None or row["project"] != project:
        raise NotFound(f"there is no user with the id {user_id!r}", field="user_id")
    return _user(row)


async def lock_self(tx: Connection, user_id: str) -> User:
    """The user who asks, in whatever project he works now."""
    row = await tx.fetchrow(LOCK_USER, user_id)
    if row is None:
        raise NotFound(f"there is no user with the id {user_id!r}", field="user_id")
    return _user(row)


async def lock_enabled(tx: Connection, names: Sequence[str]) -> list[User]:
    return [_user(row) for row in await tx.fetch(LOCK_ENABLED, list(names))]


async def save_user(tx: Connection, user: User) -> None:
    roles = [role.value for role in user.roles]
    facts = (user.password_hash, user.epoch, user.disabled_at, dict(user.ended_sessions))
    await tx.execute(SAVE_USER, user.id, roles, *facts)


async def lock_attempts(tx: Connection, name_digest: str) -> Attempts:
    await tx.execute(BEGIN_ATTEMPTS, name_digest)
    row = await tx.fetchrow(LOCK_ATTEMPTS, name_digest)
    return Attempts() if row is None else Attempts(**dict(row))


async def save_attempts(tx: Connection, name_digest: str, attempts: Attempts) -> None:
    await tx.execute(SAVE_ATTEMPTS, name_digest, attempts.failures, attempts.blocked_until, attempts.last_at)


async def forget_attempts(tx: Connection, name_digest: str) -> None:
    await tx.execute(FORGET_ATTEMPTS, name_digest)


async def uncount_attempt(tx: Connection, digest: str) -> None:
    await tx.execute(UNCOUNT_ATTEMPT, digest)


async def prune_attempts(tx: Connection) -> None:
    await tx.execute(PRUNE_ATTEMPTS)


async def signing_keys(tx: Connection) -> list[SigningKey]:
    return [SigningKey(**dict(row)) for row in await tx.fetch(SIGNING_KEYS)]


async def insert_signing_key(tx: Connection, key: SigningKey) -> None:
    await tx.execute(INSERT_SIGNING_KEY, key.kid, key.public, key.created_at)


async def retire_signing_key(tx: Connection, key: SigningKey) -> None:
    await tx.execute(RETIRE_SIGNING_KEY, key.kid, key.retires_at)


async def delete_signing_key(tx: Connection, kid: str) -> None:
    await tx.execute(DELETE_SIGNING_KEY, kid)
