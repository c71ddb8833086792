"""Requests about invitations, which auth answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, Field

from shared.errors import Conflict
from shared.permissions import Role
from shared.rpc.auth import NewPassword, UserName, UserView
from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
InvitationToken = Annotated[str, Field(min_length=1, max_length=200, repr=False)]


class InvitationView(Reply):
    """An invitation that nobody accepted yet, until when it counts, and for whom."""

    id: str
    name: str
    project: str
    roles: list[Role]
    created_by: str = ""
    created_at: datetime | None = None
    ends_at: datetime


class InvitationWithToken(InvitationView):
    """An invitation with its token, which is shown this once."""

    token: str = Field(repr=False)


class InvitationList(Reply):
    """Invitations of a project that still count, the newest first."""

    invitations: list[InvitationView] = []


class CreateInvitation(Request[InvitationWithToken]):
    """Invite a person under a name; it counts for three days if no end is given, and for seven at most."""

    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"token"})
    name: UserName
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    ends_at: AwareDatetime | None = None

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> InvitationWithToken:
        """Raises Conflict: the token is not known any more."""
        message = f"this Idempotency-Key made the invitation {kept['id']}, whose token was shown once: revoke it"
        raise Conflict(f"{message}, and make another one with a new Idempotency-Key", field="Idempotency-Key")


class ListInvitations(Request[InvitationList]):
    """Show the invitations of the project that still count."""


class RevokeInvitation(Request[Done]):
    """Let an invitation count no more."""

    invitation_id: str


class AcceptInvitation(Request[UserView]):
    """Make the user that was invited, with its own password; answered when every gateway can know it."""

    token: InvitationToken
    new_password: NewPassword
