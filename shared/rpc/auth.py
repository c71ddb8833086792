"""Requests that auth answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from shared.errors import Conflict
from shared.permissions import Role
from shared.rpc.base import Reply, Request

KeyName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ApiKeyView(Reply):
    """An API key without its secret."""

    id: str
    name: str
    project: str
    roles: list[Role]
    prefix: str
    created_by: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeyCreated(ApiKeyView):
    """A new API key; its secret is shown this once."""

    secret: str


class ApiKeyList(Reply):
    """API keys of a project, newest first."""

    keys: list[ApiKeyView] = []


class CreateApiKey(Request[ApiKeyCreated]):
    """Make an API key; answered when every gateway can know it."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"secret"})
    name: KeyName
    roles: list[Role] = Field(min_length=1, max_length=len(Role))
    expires_at: datetime | None = None

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> ApiKeyCreated:
        """Raises Conflict: an answer without the secret would look like a key that works."""
        message = f"this Idempotency-Key made the API key {kept['id']}, whose secret was shown once: revoke it"
        raise Conflict(f"{message}, and make another one with a new Idempotency-Key", field="Idempotency-Key")


class ListApiKeys(Request[ApiKeyList]):
    """Show the API keys of the project."""


class RevokeApiKey(Request[ApiKeyView]):
    """Refuse an API key from now on, on every gateway."""

    awaits_publication: ClassVar[bool] = True
    key_id: str
