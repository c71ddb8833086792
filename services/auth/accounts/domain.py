"""Service accounts: two secrets at most, and when each counts; pure."""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.auth.users import ordered
from shared.credentials import Credential, key_digest
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.accounts import ServiceAccountView

SECRET_PREFIX = "ais_"  # noqa: S105
SECRET_BYTES = 32


@dataclass(frozen=True)
class Secret:
    """The digest of a secret; without an end it counts until it is rotated."""

    digest: str
    created_at: datetime
    ends_at: datetime | None = None

    def counts(self, now: datetime) -> bool:
        return self.ends_at is None or now < self.ends_at

    def row(self) -> dict[str, Any]:
        ends_at = self.ends_at and self.ends_at.isoformat()
        return {"digest": self.digest, "created_at": self.created_at.isoformat(), "ends_at": ends_at}

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Secret":
        ends_at = datetime.fromisoformat(row["ends_at"]) if row["ends_at"] else None
        return cls(row["digest"], datetime.fromisoformat(row["created_at"]), ends_at)


@dataclass(frozen=True)
class Account:
    """A service account as stored, the newest secret first."""

    id: str
    project: str
    name: str
    roles: tuple[Role, ...]
    secrets: tuple[Secret, ...]
    created_by: str
    created_at: datetime

    epoch = 1

    def credential(self) -> Credential:
        who = {"key_id": self.id, "name": self.name, "project": self.project, "roles": self.roles}
        return Credential(**who, epoch=self.epoch)

    def view(self) -> ServiceAccountView:
        now = datetime.now(UTC)
        return ServiceAccountView(
            id=self.id,
            name=self.name,
            project=self.project,
            roles=list(self.roles),
            created_by=self.created_by,
            created_at=self.created_at,
            secrets=[secret.created_at for secret in self.secrets if secret.counts(now)],
        )

    def accepts(self, given: str, now: datetime) -> bool:
        digest = key_digest(given)
        return any(each.counts(now) and hmac.compare_digest(each.digest, digest) for each in self.secrets)


def new_secret() -> str:
    """256 random bits."""
    return SECRET_PREFIX + secrets.token_hex(SECRET_BYTES)


def draft(secret: str, name: str, roles: Iterable[Role], *, project: str, by: str, now: datetime) -> Account:
    return Account(new_id(), project, name, ordered(roles), (Secret(key_digest(secret), now),), by, now)


def rotated(account: Account, secret: str, overlap: timedelta, now: datetime) -> Account:
    """The account with another secret beside the newest of before, which ends; no third one counts."""
    newest = account.secrets[0]
    ends_at = now + overlap if newest.ends_at is None else min(newest.ends_at, now + overlap)
    return replace(account, secrets=(Secret(key_digest(secret), now), replace(newest, ends_at=ends_at)))
