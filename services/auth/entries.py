"""Entries of the bucket that every gateway reads: API keys, users and the keys that sign tokens."""

import json
from typing import Any

from services.auth.accounts.domain import Account
from services.auth.domain import ApiKey
from services.auth.tokens import SigningKey
from services.auth.users import User
from shared.credentials import credential_subject
from shared.tokens import signing_key_name, user_name
from shared.work import Work

KV_DELETE = {"KV-Operation": "DEL"}


def put_api_key(work: Work[Any], key: ApiKey) -> None:
    work.send(f"key/{key.id}", credential_subject(key.digest), key.credential().model_dump_json().encode(), {})


def remove_api_key(work: Work[Any], key: ApiKey) -> None:
    work.send(f"key/{key.id}", credential_subject(key.digest), b"", KV_DELETE)


def put_user(work: Work[Any], user: User) -> None:
    """Nobody is found in the bucket who is disabled."""
    body, headers = (user.credential().model_dump_json().encode(), {}) if user.disabled_at is None else (b"", KV_DELETE)
    work.send(f"user/{user.id}", credential_subject(user_name(user.id)), body, headers)


def put_account(work: Work[Any], account: Account) -> None:
    """Among the users: tokens of both are checked in the same way."""
    body = account.credential().model_dump_json().encode()
    work.send(f"user/{account.id}", credential_subject(user_name(account.id)), body, {})


def remove_account(work: Work[Any], account: Account) -> None:
    work.send(f"user/{account.id}", credential_subject(user_name(account.id)), b"", KV_DELETE)


def put_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), json.dumps(key.public).encode(), {})


def remove_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), b"", KV_DELETE)
