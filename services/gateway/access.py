"""Who asks, and whether they may: bearer keys against the memory of credentials, permissions against roles."""

import time

from services.gateway import metrics
from services.gateway.credentials import CredentialCache, Principal
from shared.credentials import KEY_PREFIX, key_digest
from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.permissions import Permission

LONGEST_KEY = 200


class Gatekeeper:
    """Knows a caller by the key in the Authorization header."""

    def __init__(self, cache: CredentialCache) -> None:
        self._cache = cache

    def identify(self, headers: dict[bytes, bytes]) -> Principal:
        """The owner of the key.

        Raises Unauthenticated for no key, an unknown, a revoked or an expired one; Unavailable while the keys are
        not loaded or not fresh.
        """
        key = _bearer(headers)
        if problem := self._cache.problem():
            raise Unavailable(f"API keys cannot be checked now: {problem}")
        principal = self._cache.find(key_digest(key))
        if principal is None:
            raise _refused("unknown", "this API key is unknown or revoked")
        if principal.expires is not None and principal.expires <= time.time():
            raise _refused("expired", "this API key has expired")
        return principal

    def is_valid(self, principal: Principal) -> bool:
        """Whether the key still counts; for answers that last."""
        current = self._cache.find(principal.digest)
        return current is not None and (current.expires is None or current.expires > time.time())


def authorise(principal: Principal, permission: Permission) -> None:
    """Raises Forbidden when none of the caller's roles grants the permission."""
    if permission not in principal.permissions:
        metrics.REFUSED.labels("forbidden").inc()
        raise Forbidden(f"this needs the permission '{permission.value}', which the roles of your key do not grant")


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise _refused("anonymous", None)
    if not key.startswith(KEY_PREFIX) or len(key) > LONGEST_KEY:
        raise _refused("malformed", f"this is not an API key of ours: they start with {KEY_PREFIX}")
    return key


def _refused(reason: str, message: str | None) -> Unauthenticated:
    metrics.REFUSED.labels(reason).inc()
    return Unauthenticated(message)
