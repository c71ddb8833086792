"""All SQL of identity providers and of logins through them."""

from datetime import datetime
from typing import Any

import asyncpg

from services.auth.oidc.domain import PendingLogin, Provider
from shared.db import Connection
from shared.errors import Conflict, NotFound
from shared.permissions import Role
from shared.resealing import Sealed

SECRETS = [Sealed("identity_providers", "sealed", "'oidc/' || name")]
COLUMNS = (
    "name, project, issuer, client_id, sealed, public_url, scopes, name_claim, groups_claim, group_roles, "
    "default_roles, created_by, created_at, disabled_at"
)
LOGIN_COLUMNS = "state_digest, browser_digest, provider, forward_to, ends_at"

# Keep a new provider.
INSERT = f"""
INSERT INTO identity_providers ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
# The providers of a project.
LIST = f"SELECT {COLUMNS} FROM identity_providers WHERE project = $1 ORDER BY name"
# One provider, in whatever project.
FIND = f"SELECT {COLUMNS} FROM identity_providers WHERE name = $1"
# One provider of a project, held until the transaction ends.
LOCK = f"SELECT {COLUMNS} FROM identity_providers WHERE project = $1 AND name = $2 FOR UPDATE"
# Keep what changed of a provider.
SAVE = """
UPDATE identity_providers SET client_id = $2, sealed = $3, public_url = $4, scopes = $5, name_claim = $6,
    groups_claim = $7, group_roles = $8, default_roles = $9, disabled_at = $10 WHERE name = $1
"""
# Forget a provider.
DELETE = "DELETE FROM identity_providers WHERE name = $1"
# Forget logins that came to nothing.
FORGET_OLD = "DELETE FROM provider_logins WHERE ends_at < $1"
# How many logins are with providers now.
COUNT_LOGINS = "SELECT count(*) FROM provider_logins"
# Keep a login that begins.
INSERT_LOGIN = f"INSERT INTO provider_logins ({LOGIN_COLUMNS}) VALUES ($1, $2, $3, $4, $5)"
# One login that is with a provider.
FIND_LOGIN = f"SELECT {LOGIN_COLUMNS} FROM provider_logins WHERE state_digest = $1"
# Take a login, once.
TAKE_LOGIN = f"DELETE FROM provider_logins WHERE state_digest = $1 RETURNING {LOGIN_COLUMNS}"
# Let the first logins of a person come one after the other.
LOCK_PERSON = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
# Which user a person is.
FIND_PERSON = "SELECT user_id FROM provider_users WHERE provider = $1 AND person = $2"
# Remember which user a person is.
INSERT_PERSON = "INSERT INTO provider_users (provider, person, user_id) VALUES ($1, $2, $3)"


def _provider(row: asyncpg.Record) -> Provider:
    fields: dict[str, Any] = dict(row)
    mapped = {group: tuple(Role(role) for role in roles) for group, roles in row["group_roles"].items()}
    defaults = tuple(Role(role) for role in row["default_roles"])
    return Provider(**fields | {"group_roles": mapped, "default_roles": defaults, "scopes": tuple(row["scopes"])})


def _mapped(provider: Provider) -> dict[str, list[str]]:
    return {group: [role.value for role in roles] for group, roles in provider.group_roles.items()}


def _changing(provider: Provider) -> tuple[Any, ...]:
    defaults = [role.value for role in provider.default_roles]
    claims = (provider.name_claim, provider.groups_claim, _mapped(provider), defaults)
    return (provider.client_id, provider.sealed, provider.public_url, list(provider.scopes), *claims)


async def insert(tx: Connection, provider: Provider) -> None:
    """Raises Conflict for a name that a provider of whatever project has: people log in by it alone."""
    facts = (*_changing(provider), provider.created_by, provider.created_at, provider.disabled_at)
    try:
        await tx.execute(INSERT, provider.name, provider.project, provider.issuer, *facts)
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"there is an identity provider named '{provider.name}' already", field="name") from error


async def listed(tx: Connection, project: str) -> list[Provider]:
    return [_provider(row) for row in await tx.fetch(LIST, project)]


async def find(tx: Connection, name: str) -> Provider:
    """Raises NotFound for one that is not, or is disabled: strangers ask."""
    row = await tx.fetchrow(FIND, name)
    if row is None or row["disabled_at"] is not None:
        raise NotFound(f"there is no identity provider named {name!r}", field="provider")
    return _provider(row)


async def lock(tx: Connection, project: str, name: str) -> Provider:
    row = await tx.fetchrow(LOCK, project, name)
    if row is None:
        raise NotFound(f"there is no identity provider named {name!r}", field="name")
    return _provider(row)


async def save(tx: Connection, provider: Provider) -> None:
    await tx.execute(SAVE, provider.name, *_changing(provider), provider.disabled_at)


async def delete(tx: Connection, provider: Provider) -> None:
    """Raises Conflict while there are users who came through it."""
    try:
        await tx.execute(DELETE, provider.name)
    except (asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError) as error:
        message = "people came in through it, who could not any more: disable it, or them, instead"
        raise Conflict(message, field="name") from error


async def count_logins(tx: Connection, now: datetime) -> int:
    """Those that last; older ones are forgotten."""
    await tx.execute(FORGET_OLD, now)
    return int(await tx.fetchval(COUNT_LOGINS))


async def insert_login(tx: Connection, login: PendingLogin) -> None:
    about = (login.provider, login.forward_to, login.ends_at)
    await tx.execute(INSERT_LOGIN, login.state_digest, login.browser_digest, *about)


async def find_login(tx: Connection, state_digest: str) -> PendingLogin | None:
    row = await tx.fetchrow(FIND_LOGIN, state_digest)
    return None if row is None else PendingLogin(**dict(row))


async def take_login(tx: Connection, state_digest: str) -> PendingLogin | None:
    row = await tx.fetchrow(TAKE_LOGIN, state_digest)
    return None if row is None else PendingLogin(**dict(row))


async def find_person(tx: Connection, provider: str, person: str) -> str | None:
    """The id of the user; held against another first login of the same person."""
    await tx.execute(LOCK_PERSON, f"{provider}/{person}")
    user_id: str | None = await tx.fetchval(FIND_PERSON, provider, person)
    return user_id


async def insert_person(tx: Connection, provider: str, person: str, user_id: str) -> None:
    await tx.execute(INSERT_PERSON, provider, person, user_id)
