"""ID tokens: who signed one, for whom, and for which login; pure.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from jwt.exceptions import PyJWKError, PyJWTError

from shared.errors import Unauthenticated

LEEWAY_SECONDS = 30
CLAIMS = ["iss", "sub", "aud", "exp", "iat"]
ALGORITHMS = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("OKP", "Ed25519"): "EdDSA",
}
ALLOWED = {*ALGORITHMS.values(), "RS384", "RS512", "PS256", "PS384", "PS512"}
LONGEST_TOKEN = 64 * 1024


def check(token: str, keys: Sequence[Mapping[str, Any]], *, issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an ID token; raises Unauthenticated for one that is not of this login."""
    try:
        header = jwt.get_unverified_header(token[:LONGEST_TOKEN])
        key, algorithm = _key_of(header, keys)
        options: Any = {"require": CLAIMS, "verify_sub": True, "enforce_minimum_key_length": True}
        given = {"audience": client_id, "issuer": issuer, "leeway": LEEWAY_SECONDS, "options": options}
        known = jwt.PyJWK(dict(key), algorithm)
        claims: dict[str, Any] = jwt.decode(token[:LONGEST_TOKEN], known, [algorithm], **given)
    except (PyJWTError, PyJWKError, ValueError, TypeError, KeyError) as error:
        raise Unauthenticated(f"the provider's ID token does not count: {type(error).__name__}") from error
    _check_of_login(claims, client_id, nonce)
    return claims


def is_known(token: str, keys: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the key that the token names is among these."""
    try:
        header = jwt.get_unverified_header(token[:LONGEST_TOKEN])
    except PyJWTError:
        return True
    return any(_fits(key, header) for key in keys)


def _key_of(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str]:
    """The one key that is named, with the one algorithm that is its own: the token does not choose."""
    found = [key for key in keys if _fits(key, header)]
    if len(found) != 1:
        raise ValueError("no key, or more than one")
    algorithm = algorithm_of(found[0])
    if algorithm != header.get("alg"):
        raise ValueError("another algorithm than the key's")
    return found[0], algorithm


def _fits(key: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    named = header.get("kid")
    return algorithm_of(key) != "" and (named is None or key.get("kid") == named)


def algorithm_of(key: Mapping[str, Any]) -> str:
    """The only algorithm that a key is for; none for a key that signs nothing here, such as a symmetric one."""
    if key.get("use", "sig") != "sig" or key.get("kty") == "oct":
        return ""
    kind, curve = key.get("kty"), key.get("crv")
    own = ALGORITHMS.get((kind, None if kind == "RSA" else curve), "")  # type: ignore[arg-type]
    said = key.get("alg", own)
    return said if own and said in ALLOWED else ""


def _check_of_login(claims: Mapping[str, Any], client_id: str, nonce: str) -> None:
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise Unauthenticated("the provider's ID token is of another login")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client_id) != client_id:
        raise Unauthenticated("the provider's ID token is for another client")
