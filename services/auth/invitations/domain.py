"""Invitations: one token, which counts once and for seven days at most; pure."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.auth import users
from services.auth.users import User, ordered
from shared.credentials import key_digest
from shared.errors import Conflict, InvalidInput
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.invitations import InvitationView

TOKEN_PREFIX = "aii_"  # noqa: S105
TOKEN_BYTES = 32
USUAL, LONGEST = timedelta(days=3), timedelta(days=7)


@dataclass(frozen=True)
class Invitation:
    """An invitation as stored; the token is known by its digest alone."""

    id: str
    project: str
    name: str
    roles: tuple[Role, ...]
    digest: str
    created_by: str
    created_at: datetime
    ends_at: datetime
    accepted_at: datetime | None = None
    revoked_at: datetime | None = None

    def view(self) -> InvitationView:
        return InvitationView(
            id=self.id,
            name=self.name,
            project=self.project,
            roles=list(self.roles),
            created_by=self.created_by,
            created_at=self.created_at,
            ends_at=self.ends_at,
        )

    def check(self, now: datetime) -> None:
        """Raises Conflict, saying why, for one that does not count any more."""
        if self.accepted_at is not None:
            raise Conflict("this invitation was accepted before: log in with the name and the password", field="token")
        if self.revoked_at is not None:
            raise Conflict("this invitation was revoked: ask for another one", field="token")
        if now >= self.ends_at:
            raise Conflict("this invitation has expired: ask for another one", field="token")

    def user(self, password_hash: str, now: datetime) -> User:
        return users.draft(self.name, self.roles, password_hash, project=self.project, by=self.created_by, now=now)


def new_token() -> str:
    """256 random bits."""
    return TOKEN_PREFIX + secrets.token_hex(TOKEN_BYTES)


def draft(
    token: str, name: str, roles: Iterable[Role], *, project: str, by: str, now: datetime, ends_at: datetime | None
) -> Invitation:
    end = _checked_end(ends_at or now + USUAL, now)
    return Invitation(new_id(), project, name, ordered(roles), key_digest(token), by, now, end)


def _checked_end(ends_at: datetime, now: datetime) -> datetime:
    if not now < ends_at <= now + LONGEST:
        raise InvalidInput("ends_at must lie in the future, within seven days", field="ends_at")
    return ends_at.astimezone(UTC)
