"""Second factors: which code counts, and that none counts twice; pure."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pyotp

from shared.credentials import key_digest

ISSUER_NAME = "AI Mass"
STEP_SECONDS = 30
EARLIER_OR_LATER = 1
RECOVERY_CODES, RECOVERY_BYTES = 10, 10
WRONG_CODE = "this code is wrong, or was used before: take the next one"


@dataclass(frozen=True)
class Factor:
    """A user's second factor as stored; it counts once it is confirmed. No step before `last_step` counts any more."""

    user_id: str
    sealed: bytes
    confirmed_at: datetime | None = None
    last_step: int = 0
    recovery: tuple[str, ...] = ()


def new_secret() -> str:
    """160 random bits, in the letters that authenticator apps take."""
    return pyotp.random_base32()


def uri(secret: str, name: str) -> str:
    """What an app reads as a picture."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=name, issuer_name=ISSUER_NAME)


def new_recovery_codes() -> list[str]:
    """Codes of 80 random bits each, in groups that can be copied by hand."""
    return [_grouped(secrets.token_bytes(RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]


def with_codes(factor: Factor, codes: Iterable[str]) -> Factor:
    return replace(factor, recovery=tuple(key_digest(_plain(code)) for code in codes))


def accept(factor: Factor, secret: str, code: str, now: datetime) -> Factor | None:
    """The factor after this code, which counts no more; None for one that does not count."""
    step = _step_of(secret, code.strip(), now)
    if step is not None and step > factor.last_step:
        return replace(factor, last_step=step)
    digest = key_digest(_plain(code))
    left = tuple(each for each in factor.recovery if not hmac.compare_digest(each, digest))
    return replace(factor, recovery=left) if len(left) < len(factor.recovery) else None


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """The step of time that this is the code of: clocks may be half a minute apart."""
    totp, current = pyotp.TOTP(secret, interval=STEP_SECONDS), int(now.timestamp()) // STEP_SECONDS
    for step in range(current - EARLIER_OR_LATER, current + EARLIER_OR_LATER + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            return step
    return None


def _grouped(random: bytes) -> str:
    text = base64.b32encode(random).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()
