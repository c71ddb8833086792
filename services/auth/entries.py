"""Entries of the bucket that every gateway reads: API keys, users, custom roles and the keys that sign tokens."""

import json
from typing import Any

from services.auth.accounts.domain import Account
from services.auth.domain import ApiKey
from services.auth.grants import store as grants_store
from services.auth.tokens import SigningKey
from services.auth.users import User
from shared.credentials import KV_DELETE, Credential, credential_subject
from shared.grants import RoleEntry, role_entry_name
from shared.tokens import signing_key_name, user_name
from shared.work import Work


async def put_api_key(work: Work[Any], key: ApiKey) -> None:
    """Hold the key's row: what it is granted is read here."""
    body = await _with_grants(work, "key", key.credential())
    work.send(f"key/{key.id}", credential_subject(key.digest), body, {})


def remove_api_key(work: Work[Any], key: ApiKey) -> None:
    remove_digest(work, key, key.digest)


def remove_digest(work: Work[Any], key: ApiKey, digest: str) -> None:
    """One secret of a key counts no more."""
    work.send(f"key/{key.id}", credential_subject(digest), b"", KV_DELETE)


async def put_user(work: Work[Any], user: User) -> None:
    """Nobody is found in the bucket who is disabled. Hold the user's row: what he is granted is read here."""
    enabled = user.disabled_at is None
    body = await _with_grants(work, "user", user.credential()) if enabled else b""
    work.send(f"user/{user.id}", credential_subject(user_name(user.id)), body, {} if enabled else KV_DELETE)


async def _with_grants(work: Work[Any], kind: str, credential: Credential) -> bytes:
    grants = await grants_store.held(work.tx, kind, credential.key_id)
    return credential.model_copy(update={"grants": grants}).model_dump_json().encode()


def put_role(work: Work[Any], role: RoleEntry) -> None:
    name = role_entry_name(role.project, role.name)
    work.send(f"role/{name}", credential_subject(name), role.model_dump_json().encode(), {})


def remove_role(work: Work[Any], role: RoleEntry) -> None:
    name = role_entry_name(role.project, role.name)
    work.send(f"role/{name}", credential_subject(name), b"", KV_DELETE)


async def put_account(work: Work[Any], account: Account) -> None:
    """Among the users: tokens of both are checked in the same way. Hold the account's row."""
    body = await _with_grants(work, "account", account.credential())
    work.send(f"user/{account.id}", credential_subject(user_name(account.id)), body, {})


def remove_account(work: Work[Any], account: Account) -> None:
    work.send(f"user/{account.id}", credential_subject(user_name(account.id)), b"", KV_DELETE)


def put_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), json.dumps(key.public).encode(), {})


def remove_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), b"", KV_DELETE)
