"""All SQL of service accounts."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.auth.accounts.domain import Account, Secret
from shared.db import Connection
from shared.errors import Conflict, NotFound
from shared.permissions import Role

COLUMNS = "id, project, name, roles, secrets, created_by, created_at"

# Keep a new account.
INSERT = f"INSERT INTO service_accounts ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"
# The accounts of a project.
LIST = f"SELECT {COLUMNS} FROM service_accounts WHERE project = $1 ORDER BY name"
# One account, in whatever project.
FIND = f"SELECT {COLUMNS} FROM service_accounts WHERE id = $1"
# One account of a project, held until the transaction ends.
LOCK = f"SELECT {COLUMNS} FROM service_accounts WHERE project = $1 AND id = $2 FOR UPDATE"
# Accounts by their names in the bucket, held, so that a change comes before or after.
LOCK_NAMED = f"SELECT {COLUMNS} FROM service_accounts WHERE 'user.' || id = ANY($1) ORDER BY id FOR UPDATE"
# Keep other secrets.
SAVE = "UPDATE service_accounts SET secrets = $2 WHERE id = $1"
# Forget one.
DELETE = "DELETE FROM service_accounts WHERE id = $1"


def _account(row: asyncpg.Record) -> Account:
    fields: dict[str, Any] = dict(row)
    roles, secrets = tuple(Role(role) for role in row["roles"]), tuple(Secret.of(each) for each in row["secrets"])
    return Account(**fields | {"roles": roles, "secrets": secrets})


def _rows(account: Account) -> list[dict[str, Any]]:
    return [secret.row() for secret in account.secrets]


async def insert(tx: Connection, account: Account) -> None:
    """Raises Conflict for a name that an account of the project has."""
    roles = [role.value for role in account.roles]
    facts = (account.name, roles, _rows(account), account.created_by, account.created_at)
    try:
        await tx.execute(INSERT, account.id, account.project, *facts)
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"there is a service account named '{account.name}' already", field="name") from error


async def listed(tx: Connection, project: str) -> list[Account]:
    return [_account(row) for row in await tx.fetch(LIST, project)]


async def find(tx: Connection, account_id: str) -> Account | None:
    row = await tx.fetchrow(FIND, account_id)
    return None if row is None else _account(row)


async def lock(tx: Connection, project: str, account_id: str) -> Account:
    row = await tx.fetchrow(LOCK, project, account_id)
    if row is None:
        raise NotFound(f"there is no service account with the id {account_id!r}", field="account_id")
    return _account(row)


async def lock_named(tx: Connection, names: Sequence[str]) -> list[Account]:
    return [_account(row) for row in await tx.fetch(LOCK_NAMED, list(names))]


async def save(tx: Connection, account: Account) -> None:
    await tx.execute(SAVE, account.id, _rows(account))


async def delete(tx: Connection, account: Account) -> None:
    await tx.execute(DELETE, account.id)
