"""Identity providers: others who say who a person is (OpenID Connect)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class IdentityProvider(TypedDict):
    """A provider without its client secret; it must know `redirect_uri`."""

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
    group_roles: dict[str, list[str]]
    default_roles: list[str]
    created_by: str
    created_at: str | None
    disabled_at: str | None


class Providers:
    """What a client can do with identity providers."""

    @method
    def identity_providers(self) -> Call[list[IdentityProvider]]:
        """The identity providers of the project by name."""
        return get("identity-providers", take="providers")

    @method
    def add_identity_provider(
        self,
        name: str,
        issuer: str,
        client_id: str,
        public_url: str,
        *,
        client_secret: str = "",
        group_roles: Mapping[str, Sequence[str]] | None = None,
        default_roles: Sequence[str] = (),
        more: Mapping[str, Any] | None = None,
    ) -> Call[IdentityProvider]:
        """Let people log in through a provider; `public_url` is where their browsers reach the gateway.

        `more` are scopes, name_claim and groups_claim.
        """
        body = {"name": name, "issuer": issuer, "client_id": client_id, "public_url": public_url}
        roles = {group: list(given) for group, given in (group_roles or {}).items()}
        given = {"client_secret": client_secret, "group_roles": roles, "default_roles": list(default_roles)}
        return call("POST", "identity-providers", json=body | given | dict(more or {}))

    @method
    def change_identity_provider(self, name: str, changes: Mapping[str, Any]) -> Call[IdentityProvider]:
        """Change what is named, such as client_secret, group_roles or disabled."""
        return call("PATCH", f"identity-providers/{name}", json=dict(changes))

    @method
    def delete_identity_provider(self, name: str) -> Call[None]:
        """Forget a provider through which nobody came."""
        return nothing("DELETE", f"identity-providers/{name}")
