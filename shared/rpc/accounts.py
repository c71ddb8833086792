"""Requests about service accounts, which auth answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field

from shared.errors import Conflict
from shared.names import Slug
from shared.permissions import Role
from shared.rpc.auth import LoggedIn
from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
LONGEST_OVERLAP = 7 * 86400
Overlap = Annotated[int, Field(ge=0, le=LONGEST_OVERLAP, description="seconds that the older secret goes on to count")]


class ServiceAccountView(Reply):
    """Software that asks in its own name; its id is its client id. `secrets` are when those that count were made."""

    id: str
    name: str
    project: str
    roles: list[Role]
    created_by: str = ""
    created_at: datetime | None = None
    secrets: list[datetime] = []


class ServiceAccountWithSecret(ServiceAccountView):
    """A service account with a secret, which is shown this once."""

    client_secret: str = Field(repr=False)


class ServiceAccountList(Reply):
    """Service accounts of a project by name."""

    accounts: list[ServiceAccountView] = []


class CreateServiceAccount(Request[ServiceAccountWithSecret]):
    """Let software ask in its own name, with a secret made here."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"client_secret"})
    name: Slug
    roles: list[Role] = Field(min_length=1, max_length=len(Role))

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> ServiceAccountWithSecret:
        """Raises Conflict: the secret is not known any more."""
        message = f"this Idempotency-Key made the account {kept['id']}, whose secret was shown once: rotate it"
        raise Conflict(message, field="Idempotency-Key")


class ListServiceAccounts(Request[ServiceAccountList]):
    """Show the service accounts of the project."""


class RotateServiceAccount(Request[ServiceAccountWithSecret]):
    """Make another secret; the one before goes on for a while, older ones do not."""

    account_id: str
    overlap_seconds: Overlap = 86400


class DeleteServiceAccount(Request[Done]):
    """Refuse a service account and its tokens from now on, on every gateway."""

    awaits_publication: ClassVar[bool] = True
    account_id: str


class IssueToken(Request[LoggedIn]):
    """Trade the secret of a service account for an access token; there is no refresh token."""

    client_id: str = Field(pattern=r"^[0-9a-f-]{36}$")
    client_secret: str = Field(max_length=200, repr=False)
    address: str = Field(default="", max_length=64)
