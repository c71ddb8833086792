"""Access tokens, checked here against the public keys of auth: nobody is asked, so they count while auth is away."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jwt
from pydantic import ValidationError

from services.gateway.credentials import PublicKey
from shared.credentials import key_digest
from shared.errors import Unauthenticated
from shared.tokens import ALGORITHM, AUDIENCE, ISSUER, LEEWAY_SECONDS, LONGEST_SECONDS, REQUIRED, TOKEN_TYPE, Claims

LONGEST_TOKEN = 2000
MOST_REMEMBERED = 10_000
HEADER = {"alg", "kid", "typ"}
REFUSED = "this access token is not valid: log in again"


class Checked(NamedTuple):
    """A token whose signature was right, and by which key."""

    kid: str
    claims: Claims


class Tokens:
    """Checks a signature once, and what may change with each use."""

    def __init__(self, signing_key: Callable[[str], PublicKey | None], clock: Callable[[], float] = time.time) -> None:
        self._signing_key = signing_key
        self._clock = clock
        self._checked: dict[str, Checked] = {}

    def read(self, token: str) -> Claims:
        """What the token says.

        Raises Unauthenticated unless we signed it for ourselves, with a key that counts, and it has not ended.
        """
        digest = key_digest(token)
        checked = self._checked.get(digest) or self._remember(digest, _check(token, self._signing_key))
        if self._signing_key(checked.kid) is None:
            raise Unauthenticated(REFUSED)
        if checked.claims.exp + LEEWAY_SECONDS <= self._clock():
            raise Unauthenticated("this access token has expired: log in again")
        return checked.claims

    def _remember(self, digest: str, checked: Checked) -> Checked:
        if len(self._checked) >= MOST_REMEMBERED:
            self._checked.clear()
        self._checked[digest] = checked
        return checked


def _check(token: str, signing_key: Callable[[str], PublicKey | None]) -> Checked:
    """Every key signs with one algorithm, and a header holds what ours do and nothing else."""
    try:
        header = jwt.get_unverified_header(token)
        key = signing_key(str(header.get("kid")))
        if header.keys() != HEADER or header["typ"] != TOKEN_TYPE or key is None:
            raise Unauthenticated(REFUSED)
        return Checked(header["kid"], _claims(token, key))
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("this access token has expired: log in again") from None
    except (jwt.PyJWTError, ValidationError, ValueError, RecursionError):
        raise Unauthenticated(REFUSED) from None


def _claims(token: str, key: PublicKey) -> Claims:
    found = jwt.decode(
        token,
        key.key,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        leeway=LEEWAY_SECONDS,
        options={"require": list(REQUIRED), "strict_aud": True},
    )
    claims = Claims.model_validate(found)
    if claims.exp - claims.iat > LONGEST_SECONDS:
        raise ValueError("this token lasts too long")
    return claims
