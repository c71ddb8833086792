"""Another secret for a key, and what gateways tell of its use; pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.auth.domain import SHOWN_CHARACTERS, ApiKey
from shared.credentials import key_digest
from shared.errors import Conflict


@dataclass(frozen=True)
class Rotated:
    """A key with its new secret, and as it was, which counts until `old`'s end."""

    new: ApiKey
    old: ApiKey
    counts_until: datetime


def rotate(key: ApiKey, secret: str, now: datetime, overlap: timedelta) -> Rotated:
    """Raises Conflict for a key that counts no more: it would count again."""
    if not key.is_active(now):
        raise Conflict("this API key is revoked or has expired: make another one")
    until = now + overlap if key.expires_at is None else min(now + overlap, key.expires_at)
    new = replace(key, digest=key_digest(secret), prefix=secret[:SHOWN_CHARACTERS])
    return Rotated(new, replace(key, expires_at=until), until)
