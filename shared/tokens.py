"""Access tokens: what auth signs and every gateway checks by itself. Signed JWTs (RFC 7519, 9068), EdDSA alone."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.names import Slug

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"  # noqa: S105
ISSUER = "urn:aimass:auth"
AUDIENCE = "urn:aimass:gateway"
LONGEST_SECONDS = 900
LEEWAY_SECONDS = 5
USER = "user"
SIGNING_KEY = "signing"


class Claims(BaseModel):
    """What a token says. A session ends when its epoch is lower than its user's, or its id is among those that ended;
    roles are the user's, never here. Who still needs a second factor may set one up, and nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    jti: str
    project: Slug
    epoch: int
    sid: str = ""
    needs_factor: bool = False


class PublicJwk(BaseModel):
    """A public key as others may read it (RFC 8037); whatever else an entry holds is not taken over."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]


REQUIRED = tuple(name for name, claim in Claims.model_fields.items() if claim.is_required())


def user_name(user_id: str) -> str:
    """The name of a user's entry in the bucket of credentials; no digest of an API key has a dot."""
    return f"{USER}.{user_id}"


def signing_key_name(kid: str) -> str:
    """The name of a public key's entry in the bucket."""
    return f"{SIGNING_KEY}.{kid}"
