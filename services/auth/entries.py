"""Entries of the bucket that every gateway reads: API keys, users and the keys that sign tokens."""

import json
from typing import Any

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
    remove_digest(work, key, key.digest)


def remove_digest(work: Work[Any], key: ApiKey, digest: str) -> None:
    """One secret of a key counts no more."""
    work.send(f"key/{key.id}", credential_subject(digest), b"", KV_DELETE)


def put_user(work: Work[Any], user: User) -> None:
    """Nobody is found in the bucket who is disabled."""
    body, headers = (user.credential().model_dump_json().encode(), {}) if user.disabled_at is None else (b"", KV_DELETE)
    work.send(f"user/{user.id}", credential_subject(user_name(user.id)), body, headers)


def put_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), json.dumps(key.public).encode(), {})


def remove_signing_key(work: Work[Any], key: SigningKey) -> None:
    work.send(f"signing/{key.kid}", credential_subject(signing_key_name(key.kid)), b"", KV_DELETE)
