"""Access tokens and the keys that sign them: which key signs when, and what a token says; pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from shared.errors import Unavailable
from shared.names import new_id
from shared.tokens import ALGORITHM, AUDIENCE, ISSUER, LEEWAY_SECONDS, LONGEST_SECONDS, TOKEN_TYPE

LEAD = timedelta(seconds=2)
LONGEST = timedelta(seconds=LONGEST_SECONDS + LEEWAY_SECONDS)
GRACE = LEAD + LONGEST


class Owner(Protocol):
    """Whose token it is: a user or a service account."""

    @property
    def id(self) -> str: ...

    @property
    def project(self) -> str: ...

    @property
    def epoch(self) -> int: ...


@dataclass(frozen=True)
class SigningKey:
    """The public half of a key that signs tokens. Until `retires_at` its tokens count."""

    kid: str
    public: dict[str, Any]
    created_at: datetime
    retires_at: datetime | None = None

    def may_sign(self, now: datetime) -> bool:
        """Whether a token signed now would count as long as tokens last."""
        return self.retires_at is None or now + LONGEST <= self.retires_at

    def counts(self, now: datetime) -> bool:
        return self.retires_at is None or now < self.retires_at


def new_private_key() -> dict[str, Any]:
    """A private key as a JWK; the public half is what `public_half` leaves of it."""
    made: dict[str, Any] = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True)
    return made | {"kid": new_id(), "use": "sig", "alg": ALGORITHM}


def public_half(private: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in private.items() if name not in ("d", "key_ops")}


def choose(keys: Iterable[SigningKey], own: Collection[str], now: datetime) -> SigningKey:
    """The newest key of our own that every gateway has had time to learn, or else the oldest.

    Raises Unavailable when there is none.
    """
    able = sorted((key for key in keys if key.kid in own and key.may_sign(now)), key=lambda key: key.created_at)
    if not able:
        raise Unavailable("the key that signs tokens is not made yet; try again")
    known = [key for key in able if key.created_at + LEAD <= now]
    return known[-1] if known else able[0]


def retire(key: SigningKey, now: datetime) -> SigningKey:
    """The key, which counts until the last token that it may sign has ended."""
    return replace(key, retires_at=key.retires_at or now + GRACE)


def issue(
    owner: Owner,
    private: dict[str, Any],
    now: datetime,
    seconds: int,
    project: str = "",
    session_id: str = "",
    needs_factor: bool = False,
) -> str:
    """A signed token of a user's session, in the user's own project where none is named, or of a service account."""
    begun = int(now.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": owner.id,
        "iat": begun,
        "exp": begun + seconds,
        "jti": new_id(),
        "project": project or owner.project,
        "epoch": owner.epoch,
        "sid": session_id,
        "needs_factor": needs_factor,
    }
    key = jwt.PyJWK(private, ALGORITHM)
    return jwt.encode(claims, key, ALGORITHM, {"kid": private["kid"], "typ": TOKEN_TYPE})
