"""API keys: what one is, when it counts, and which may not be revoked; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.credentials import Credential, key_digest
from shared.errors import Conflict, InvalidInput
from shared.keys import KEY_PREFIX
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.auth import ApiKeyView

SHOWN_CHARACTERS = len(KEY_PREFIX) + 6
LONGEST = timedelta(days=3653)


@dataclass(frozen=True)
class ApiKey:
    """An API key as it is stored."""

    id: str
    project: str
    name: str
    roles: tuple[Role, ...]
    prefix: str
    digest: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    bounds: dict[str, Any] = field(default_factory=dict)
    last_used_at: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def credential(self) -> Credential:
        return Credential(
            key_id=self.id,
            name=self.name,
            project=self.project,
            roles=self.roles,
            expires_at=self.expires_at,
            **self.bounds,
        )

    def view(self) -> ApiKeyView:
        return ApiKeyView(
            id=self.id,
            name=self.name,
            project=self.project,
            roles=list(self.roles),
            prefix=self.prefix,
            created_by=self.created_by,
            created_at=self.created_at,
            expires_at=self.expires_at,
            revoked_at=self.revoked_at,
            last_used_at=self.last_used_at,
            **self.bounds,
        )


def draft(
    secret: str,
    *,
    project: str,
    name: str,
    roles: Iterable[Role],
    created_by: str,
    now: datetime,
    expires_at: datetime | None = None,
    bounds: dict[str, Any] | None = None,
) -> ApiKey:
    """The key of a secret; each role counts once, in the order of the table of roles."""
    given = set(roles)
    return ApiKey(
        id=new_id(),
        project=project,
        name=name,
        roles=tuple(role for role in Role if role in given),
        prefix=secret[:SHOWN_CHARACTERS],
        digest=key_digest(secret),
        created_by=created_by,
        created_at=now,
        expires_at=_checked_expiry(expires_at, now),
        bounds=bounds or {},
    )


def _checked_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise InvalidInput("expires_at needs a time zone, such as 2030-01-01T00:00:00Z", field="expires_at")
    if expires_at <= now:
        raise InvalidInput("expires_at must lie in the future", field="expires_at")
    if expires_at > now + LONGEST:
        raise InvalidInput("expires_at must lie within ten years, or be left out", field="expires_at")
    return expires_at.astimezone(UTC)


def revoke(key: ApiKey, admins: Sequence[ApiKey], now: datetime) -> ApiKey:
    """The key, refused from now on; a key that was revoked before keeps its time.

    Raises Conflict for the last active admin key: without one nobody could make a key any more.
    """
    if key.revoked_at is not None:
        return key
    others = [admin for admin in admins if admin.id != key.id and admin.is_active(now)]
    if Role.ADMIN in key.roles and key.is_active(now) and not others:
        raise Conflict("this is the last admin key: make another one first, then revoke this one")
    return replace(key, revoked_at=now)
