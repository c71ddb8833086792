"""Requests about identity providers and logins through them (OpenID Connect), which auth answers."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from shared.names import Slug
from shared.permissions import Role
from shared.rpc.auth import LoggedIn
from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
Url = Annotated[str, Field(min_length=1, max_length=2000)]
Claim = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
Scope = Annotated[str, StringConstraints(pattern=r"^[!#-\[\]-~]{1,100}$")]
Group = Annotated[str, Field(min_length=1, max_length=200)]
Roles = Annotated[list[Role], Field(max_length=len(Role))]
GroupRoles = Annotated[dict[Group, Roles], Field(max_length=200)]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=20)]
ClientId = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,200}$")]
ClientSecret = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,500}$")]


class IdentityProviderView(Reply):
    """A provider without its client secret; `redirect_uri` is what the provider must know of us."""

    name: str
    project: str
    issuer: str
    client_id: str
    has_secret: bool
    public_url: str
    redirect_uri: str
    scopes: list[str]
    name_claim: str
    groups_claim: str
    group_roles: dict[str, list[Role]]
    default_roles: list[Role]
    created_by: str = ""
    created_at: datetime | None = None
    disabled_at: datetime | None = None


class IdentityProviderList(Reply):
    """Identity providers of a project by name."""

    providers: list[IdentityProviderView] = []


class CreateIdentityProvider(Request[IdentityProviderView]):
    """Let people log in through a provider; `public_url` is where their browsers reach this platform."""

    idempotent: ClassVar[bool] = True
    name: Slug
    issuer: Url
    client_id: ClientId
    client_secret: ClientSecret = Field(default="", repr=False)
    public_url: Url
    scopes: Scopes = ["openid", "profile", "email"]
    name_claim: Claim = "preferred_username"
    groups_claim: Claim = "groups"
    group_roles: GroupRoles = {}
    default_roles: Roles = []


class ListIdentityProviders(Request[IdentityProviderList]):
    """Show the identity providers of the project."""


class ChangeIdentityProvider(Request[IdentityProviderView]):
    """Change what is named; who is in stays in, and gets other roles with the next login."""

    name: Slug
    client_id: ClientId | None = None
    client_secret: ClientSecret | None = Field(default=None, repr=False)
    public_url: Url | None = None
    scopes: Scopes | None = None
    name_claim: Claim | None = None
    groups_claim: Claim | None = None
    group_roles: GroupRoles | None = None
    default_roles: Roles | None = None
    disabled: bool | None = None


class DeleteIdentityProvider(Request[Done]):
    """Forget a provider through which nobody came."""

    name: Slug


class ProviderLoginBegun(Reply):
    """Where the browser goes on, and the secret by which it is known when it comes back."""

    location: str = Field(repr=False)
    browser: str = Field(repr=False)
    is_secure: bool


class BeginProviderLogin(Request[ProviderLoginBegun]):
    """Begin a login; `forward_to` is a port of the own machine where a program waits for the browser."""

    provider: Slug
    forward_to: str = Field(default="", max_length=200)


class ProviderLoginEnded(Reply):
    """The session, or the program's port to which the browser is sent on."""

    session: LoggedIn | None = Field(default=None, repr=False)
    forward_to: str = ""


class EndProviderLogin(Request[ProviderLoginEnded]):
    """End a login with what the provider gave the browser; counts once."""

    provider: Slug
    state: str = Field(max_length=200, repr=False)
    code: str = Field(max_length=4000, repr=False)
    browser: str = Field(default="", max_length=200, repr=False)
    address: str = Field(default="", max_length=64)
