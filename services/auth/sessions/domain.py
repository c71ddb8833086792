"""Sessions: a chain of refresh tokens, of which each counts once, and the last alone; pure.

The next token is derived from the one before with a key of the session, so that the same request twice within a moment
gives the same answer, and any older one is known without being kept.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import islice

from services.auth.users import User
from shared.credentials import key_digest
from shared.names import new_id
from shared.rpc.sessions import REFRESH_PATTERN, REFRESH_PREFIX, SessionView

SECRET_BYTES = 32
ID_CHARACTERS = 32


@dataclass(frozen=True)
class Lifetimes:
    """How long a session lasts in all, and unused, and how long a repeated request gets the same answer."""

    whole: timedelta
    idle: timedelta
    grace: timedelta


@dataclass(frozen=True)
class Session:
    """A session as stored; `turns` is how many refresh tokens came before the one that counts."""

    id: str
    user_id: str
    project: str
    epoch: int
    chain: bytes
    token_digest: str
    turns: int
    address: str
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    ended_at: datetime | None = None

    def lasts(self, user: User, now: datetime, idle: timedelta) -> bool:
        """Whether it goes on: not ended, neither by itself nor with all of the user's, and neither old nor unused."""
        is_over = self.ended_at is not None or self.epoch != user.epoch or user.disabled_at is not None
        return not is_over and now < self.ends_at and now < self.last_used_at + idle

    def view(self, idle: timedelta) -> SessionView:
        return SessionView(
            id=self.id,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
            ends_at=min(self.ends_at, self.last_used_at + idle),
            address=self.address,
        )


class Verdict(Enum):
    """What a refresh token is: the one that counts, that again, one of before, or none of this session."""

    CURRENT = auto()
    REPEATED = auto()
    REUSED = auto()
    UNKNOWN = auto()


def begin(user: User, address: str, now: datetime, lifetimes: Lifetimes, project: str = "") -> tuple[Session, str]:
    """A session and its first refresh token, in the user's own project where none is named."""
    session_id, chain = new_id(), secrets.token_bytes(SECRET_BYTES)
    token = _token(session_id, secrets.token_hex(SECRET_BYTES))
    made = (user.epoch, chain, key_digest(token), 0, address, now, now, now + lifetimes.whole)
    return Session(session_id, user.id, project or user.project, *made), token


def session_of(token: str) -> str | None:
    """The id of the session that a refresh token names; None for what is no refresh token."""
    if not REFRESH_PATTERN.fullmatch(token):
        return None
    digits = token.removeprefix(REFRESH_PREFIX)[:ID_CHARACTERS]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def successor(session: Session, token: str) -> str:
    """The token that follows; nobody can tell it who has only the one before."""
    return _token(session.id, hmac.new(session.chain, token.encode(), hashlib.sha256).hexdigest())


def judge(session: Session, token: str, now: datetime, grace: timedelta) -> Verdict:
    """One of before shows that two people have this chain; but for a moment it is taken for a request sent twice."""
    steps = _steps_to_current(session, token)
    if steps is None:
        return Verdict.UNKNOWN
    if steps == 0:
        return Verdict.CURRENT
    return Verdict.REPEATED if steps == 1 and now < session.last_used_at + grace else Verdict.REUSED


def turn(session: Session, token: str, address: str, now: datetime) -> tuple[Session, str]:
    """The session with its next token; the one that was given counts no more."""
    following = successor(session, token)
    used = replace(session, token_digest=key_digest(following), turns=session.turns + 1)
    return replace(used, address=address or session.address, last_used_at=now), following


def ended(session: Session, now: datetime) -> Session:
    return replace(session, ended_at=session.ended_at or now)


def _token(session_id: str, secret: str) -> str:
    return REFRESH_PREFIX + session_id.replace("-", "") + secret


def _steps_to_current(session: Session, token: str) -> int | None:
    """How many tokens ago this one was given; None for one that never was."""
    for steps, each in enumerate(islice(_chain(session, token), session.turns + 1)):
        if hmac.compare_digest(key_digest(each), session.token_digest):
            return steps
    return None


def _chain(session: Session, token: str) -> Iterator[str]:
    while True:
        yield token
        token = successor(session, token)
