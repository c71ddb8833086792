"""Users: who may log in, with which password, and how soon after a failure; pure."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from zxcvbn import zxcvbn

from shared.credentials import Credential
from shared.errors import InvalidInput, TooManyAttempts
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.auth import UserView

MADE_BYTES = 15
ENOUGH = 3
JUDGED_CHARACTERS = 72
FREE_FAILURES = 5
LONGEST_WAIT = timedelta(minutes=5)
FORGOTTEN_AFTER = timedelta(minutes=1)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
MOST_ENDED = 200


@dataclass(frozen=True)
class User:
    """A user as stored. `epoch` rises whenever all sessions are to end.

    `ended_sessions` are those that ended one by one, with the time until which a token of theirs may count.
    """

    id: str
    project: str
    name: str
    roles: tuple[Role, ...]
    password_hash: str
    epoch: int
    created_by: str
    created_at: datetime
    disabled_at: datetime | None = None
    ended_sessions: Mapping[str, float] = field(default_factory=dict)

    def credential(self) -> Credential:
        who = {"key_id": self.id, "name": self.name, "project": self.project, "roles": self.roles}
        return Credential(**who, epoch=self.epoch, ended=tuple(self.ended_sessions))

    def view(self) -> UserView:
        return UserView(
            id=self.id,
            name=self.name,
            project=self.project,
            roles=list(self.roles),
            created_by=self.created_by,
            created_at=self.created_at,
            disabled_at=self.disabled_at,
        )


@dataclass(frozen=True)
class Attempts:
    """Attempts to log in under one name since the last success; each counts as failed until it is known better.

    Or those from one address, of which one is forgotten each minute.
    """

    failures: int = 0
    blocked_until: datetime = LONG_AGO
    last_at: datetime = LONG_AGO


def draft(name: str, roles: Iterable[Role], password_hash: str, *, project: str, by: str, now: datetime) -> User:
    return User(new_id(), project, name, ordered(roles), password_hash, 1, by, now)


def ordered(roles: Iterable[Role]) -> tuple[Role, ...]:
    """Each role once, in the order of the table of roles."""
    given = set(roles)
    return tuple(role for role in Role if role in given)


def with_password(user: User, password_hash: str) -> User:
    return replace(user, password_hash=password_hash, epoch=user.epoch + 1)


def disabled(user: User, now: datetime) -> User:
    """The user, let out; one who is out already keeps the time."""
    return user if user.disabled_at else replace(user, disabled_at=now, epoch=user.epoch + 1)


def without_session(user: User, session_id: str, until: datetime, now: datetime) -> User:
    """The user, one of whose sessions ended; ends of too many within a token's time end all."""
    last = {one: end for one, end in user.ended_sessions.items() if end > now.timestamp()}
    if len(last) >= MOST_ENDED:
        return replace(user, epoch=user.epoch + 1, ended_sessions={})
    return replace(user, ended_sessions=last | {session_id: until.timestamp()})


def enabled(user: User) -> User:
    return replace(user, disabled_at=None)


def make_password() -> str:
    """120 random bits, in characters that can be typed."""
    return secrets.token_urlsafe(MADE_BYTES)


def check_password(password: str, name: str) -> None:
    """Raises InvalidInput for a password that can be guessed; lengths are checked before."""
    if password.casefold() == name.casefold():
        raise InvalidInput("the password must not be the name", field="new_password")
    judged = zxcvbn(password[:JUDGED_CHARACTERS], user_inputs=[name, "aimass"])
    if judged["score"] < ENOUGH:
        advice = " ".join([judged["feedback"]["warning"], *judged["feedback"]["suggestions"]]).strip()
        raise InvalidInput(f"the password is too easy to guess. {advice}".strip(), field="new_password")


def network_of(address: str) -> str:
    """What counts as one address: one of version 4, and the 64 bits of version 6 that one customer has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(ip_network((found, 64 if found.version == 6 else 32), strict=False))


def wait_after(failures: int, free: int = FREE_FAILURES) -> timedelta:
    """None for the first few failures, then a second, doubled with each up to the longest."""
    if failures < free:
        return timedelta()
    return min(timedelta(seconds=2 ** min(failures - free, 30)), LONGEST_WAIT)


def begin_attempt_from(attempts: Attempts, free: int, now: datetime) -> Attempts:
    """The same for an address, where many people may sit: more is free there, and time forgets."""
    forgotten = max(0, (now - attempts.last_at) // FORGOTTEN_AFTER)
    remembered = replace(attempts, failures=max(0, attempts.failures - forgotten))
    return begin_attempt(remembered, now, free, "from this address")


def begin_attempt(
    attempts: Attempts, now: datetime, free: int = FREE_FAILURES, where: str = "under this name"
) -> Attempts:
    """The attempt, counted before its password is looked at, so that attempts at once are not free.

    Raises TooManyAttempts while an earlier one makes this name, or address, wait.
    """
    if now < attempts.blocked_until:
        seconds = ceil((attempts.blocked_until - now).total_seconds())
        raise TooManyAttempts(f"too many attempts {where}: wait {seconds} s", retry_after=seconds)
    failures = attempts.failures + 1
    return Attempts(failures, now + wait_after(failures, free), now)
