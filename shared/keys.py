"""API keys: their form, which scanners of leaked secrets can tell, and what one may be narrowed to."""

import re
import secrets
import zlib
from ipaddress import ip_network
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from shared.permissions import Permission

KEY_PREFIX: Final = "aim_"
SECRET_BYTES: Final = 32
RANDOM_DIGITS: Final = 43
CHECK_DIGITS: Final = 6
FORM: Final = re.compile(rf"{KEY_PREFIX}[0-9A-Za-z]{{{RANDOM_DIGITS + CHECK_DIGITS}}}")
BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_secret() -> str:
    """A key that nobody can guess, 256 random bits, with a checksum of six digits at its end."""
    return with_checksum(KEY_PREFIX + _base62(secrets.randbits(SECRET_BYTES * 8), RANDOM_DIGITS))


def with_checksum(text: str) -> str:
    return text + _base62(zlib.crc32(text.encode()), CHECK_DIGITS)


def is_mistyped(key: str) -> bool:
    """Whether it has the form of our keys and a checksum that is not its own; keys of older forms have none."""
    return FORM.fullmatch(key) is not None and with_checksum(key[:-CHECK_DIGITS]) != key


def _base62(number: int, digits: int) -> str:
    found = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        found = BASE62[digit] + found
    return found


def _network(text: str) -> str:
    """One address is a network of one; bits beyond the mask are refused, since one of the two is a mistake then."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}: give an address or a network, such as 192.0.2.0/24") from None


ModelPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*-]{1,130}$")]
Network = Annotated[str, StringConstraints(max_length=50), AfterValidator(_network)]


class Bounds(BaseModel):
    """What a key is narrowed to: permissions of its roles, models by name, addresses it comes from, and how often."""

    scopes: tuple[Permission, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="of what its roles permit, this alone"
    )
    models: tuple[ModelPattern, ...] = Field(
        default=(), max_length=100, description="models by name, `*` for any letters; none is all"
    )
    addresses: tuple[Network, ...] = Field(
        default=(), max_length=100, description="networks that it may come from; none is all"
    )
    rate: float | None = Field(default=None, gt=0, le=1_000_000, description="requests a second, over time")
    burst: int | None = Field(default=None, ge=1, le=1_000_000, description="requests at once; those of a second")
    daily_requests: int | None = Field(default=None, ge=1, le=10**12, description="requests a day of UTC")

    @model_validator(mode="after")
    def _burst_has_a_rate(self) -> Self:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst: without a rate it says nothing; give one beside it")
        return self


BOUNDS: Final = frozenset(Bounds.model_fields)


def bounds_of(given: BaseModel) -> dict[str, Any]:
    """What a request, a key or an entry of the bucket says of bounds, without what it does not narrow."""
    return given.model_dump(mode="json", include=set(BOUNDS), exclude_defaults=True)
