"""Requests that auth answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.errors import Conflict
from shared.keys import Bounds
from shared.moments import Moment
from shared.names import Slug
from shared.permissions import Role
from shared.rpc.base import Done, Reply, Request

KeyName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ApiKeyView(Bounds, Reply):
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
    last_used_at: datetime | None = None


class ApiKeyCreated(ApiKeyView):
    """A new API key; its secret is shown this once."""

    secret: str


class ApiKeyList(Reply):
    """API keys of a project, newest first."""

    keys: list[ApiKeyView] = []


class CreateApiKey(Bounds, Request[ApiKeyCreated]):
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


UserName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}$")]
NewPassword = Annotated[str, Field(min_length=12, max_length=256, repr=False)]
GivenPassword = Annotated[str, Field(min_length=1, max_length=256, repr=False)]


class UserView(Reply):
    """A person who may log in."""

    id: str
    name: str
    project: str
    roles: list[Role]
    created_by: str = ""
    created_at: datetime | None = None
    disabled_at: datetime | None = None


class UserWithPassword(UserView):
    """A user and a password that was made for them; it is shown this once."""

    password: str = Field(repr=False)


class UserList(Reply):
    """Users of a project, newest first."""

    users: list[UserView] = []


class CreateUser(Request[UserWithPassword]):
    """Let a person log in, with a password made here."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"password"})
    name: UserName
    roles: list[Role] = Field(min_length=1, max_length=len(Role))

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> UserWithPassword:
        """Raises Conflict: the password is not known any more."""
        message = f"this Idempotency-Key made the user {kept['id']}, whose password was shown once: reset it"
        raise Conflict(message, field="Idempotency-Key")


class ListUsers(Request[UserList]):
    """Show the users of the project."""


class UpdateUser(Request[UserView]):
    """Give a user other roles, or let the user in or out; who is let out has no session any more."""

    awaits_publication: ClassVar[bool] = True
    user_id: str
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=len(Role))
    disabled: bool | None = None


class ResetPassword(Request[UserWithPassword]):
    """Make another password for a user who lost it; all sessions end."""

    awaits_publication: ClassVar[bool] = True
    user_id: str


class ChangePassword(Request[Done]):
    """Take another password; all sessions end. Answered when the bus holds that."""

    user_id: str
    current_password: GivenPassword
    new_password: NewPassword


class LoggedIn(Reply):
    """A token for the Authorization header (RFC 6750), and the seconds that it lasts.

    The refresh token gives the next pair, once. While a needed second factor is missing, the token is for
    setting one up.
    """

    access_token: str = Field(repr=False)
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str = Field(default="", repr=False)
    session_id: str = ""
    second_factor_missing: bool = False


class SigningKeyView(Reply):
    """The key that signs tokens from a moment on, and until when older ones count."""

    kid: str
    signs_from: datetime
    older_count_until: datetime


class RotateSigningKey(Request[SigningKeyView]):
    """Sign tokens with a new key."""

    awaits_publication: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True


Schema = dict[str, Any]
Hears = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=64)]
Proto = Annotated[str, Field(max_length=16 * 1024, description="a .proto file with a message for it")]
Says = Annotated[dict[str, Schema | Proto], Field(max_length=32)]


class Lag(Reply):
    """How far an extension is behind: events that wait, those it holds without an answer, and the last it answered."""

    waiting: int
    unanswered: int
    again: int
    last_answered: int


class ExtensionView(Reply):
    """Software of others on the bus: what it hears, and what it says by the schema of each fact."""

    name: str
    project: str
    hears: list[str]
    says: dict[str, Schema]
    starts_at: datetime | None = None
    ack_wait: int
    max_ack_pending: int
    events_per_second: int
    max_bytes: int
    created_by: str = ""
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    lag: Lag | None = None


class ExtensionList(Reply):
    """Extensions of a project by name."""

    extensions: list[ExtensionView] = []


class ExtensionCredentials(Reply):
    """All that a NATS client of any language needs; the password is shown this once."""

    url: str
    user: str
    password: str = Field(repr=False)
    inbox_prefix: str
    stream: str
    consumer: str
    publish: dict[str, str] = {}


class ExtensionRegistered(ExtensionView):
    """An extension with its credentials, shown this once."""

    credentials: ExtensionCredentials


class RegisterExtension(Request[ExtensionRegistered]):
    """Let software of others hear events of the project and say its own; answered when its consumer is there.

    `start` is where its history begins: all there is, now, or a time.
    """

    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"credentials"})
    name: Slug
    hears: Hears = []
    says: Says = {}
    start: Literal["all", "now"] | Moment = "now"
    ack_wait: int = Field(default=30, ge=1, le=3600)
    max_ack_pending: int = Field(default=64, ge=1, le=1000)
    events_per_second: int = Field(default=10, ge=1, le=500)
    max_bytes: int = Field(default=32 * 1024, ge=1024, le=128 * 1024)

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> ExtensionRegistered:
        """Raises Conflict: the password is not known any more."""
        message = f"this Idempotency-Key registered {kept['name']}, whose password was shown once: rotate it"
        raise Conflict(message, field="Idempotency-Key")


class ListExtensions(Request[ExtensionList]):
    """Show the extensions of the project with their lags."""


class GetExtension(Request[ExtensionView]):
    """Show one extension with its lag."""

    name: Slug


class ChangeExtension(Request[ExtensionView]):
    """Have an extension hear or say something else, or shut it out and let it in again."""

    name: Slug
    hears: Hears | None = None
    says: Says | None = None
    disabled: bool | None = None


class RotateExtension(Request[ExtensionRegistered]):
    """Make another password; the old one counts no more, and who came in with it is cut off."""

    name: Slug


class DeleteExtension(Request[Done]):
    """Forget an extension, its consumer and its password."""

    name: Slug
