"""Identity providers: what one may be, which roles its groups give, and how a login goes there and back; pure.

https://openid.net/specs/openid-connect-core-1_0.html, https://www.rfc-editor.org/rfc/rfc7636, .../rfc8252 (loopback)
"""

import base64
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

from services.auth.users import ordered
from shared.credentials import key_digest
from shared.errors import Forbidden, InvalidInput
from shared.permissions import Role
from shared.rpc.oidc import ChangeIdentityProvider, CreateIdentityProvider, IdentityProviderView

LASTS = timedelta(minutes=10)
MOST_LOGINS = 10_000
BYTES = 32
LONGEST_PERSON = 255
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_PLAIN = ("client_id", "public_url", "scopes", "name_claim", "groups_claim")


@dataclass(frozen=True)
class Provider:
    """A provider as stored."""

    name: str
    project: str
    issuer: str
    client_id: str
    sealed: bytes | None
    public_url: str
    scopes: tuple[str, ...]
    name_claim: str
    groups_claim: str
    group_roles: Mapping[str, tuple[Role, ...]]
    default_roles: tuple[Role, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None = None

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url.rstrip('/')}/api/v1/login/oidc/{self.name}/callback"

    @property
    def roles(self) -> tuple[Role, ...]:
        """All that somebody who comes through it may get."""
        return ordered({*self.default_roles, *(role for given in self.group_roles.values() for role in given)})

    def view(self) -> IdentityProviderView:
        held = {name: getattr(self, name) for name in IdentityProviderView.model_fields if name not in _SHAPED}
        roles = {group: list(given) for group, given in self.group_roles.items()}
        lists = {"scopes": list(self.scopes), "default_roles": list(self.default_roles), "group_roles": roles}
        return IdentityProviderView(**held, **lists, has_secret=self.sealed is not None)

    def roles_of(self, claims: Mapping[str, Any]) -> tuple[Role, ...]:
        """What the groups of a person give; raises Forbidden for somebody whom they give nothing."""
        groups = claims.get(self.groups_claim)
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        given = {role for group in named if isinstance(group, str) for role in self.group_roles.get(group, ())}
        if not (roles := ordered(given | set(self.default_roles))):
            message = f"none of your groups at {self.name} gives a role here: ask an administrator"
            raise Forbidden(message)
        return roles

    def name_of(self, claims: Mapping[str, Any]) -> str:
        """The name that a person gets here; raises Forbidden where the provider tells none that can be one."""
        name = claims.get(self.name_claim)
        if not isinstance(name, str) or not _NAME.fullmatch(lowered := name.lower()):
            raise Forbidden(f"{self.name} tells no name that can be one here in the claim {self.name_claim!r}")
        return lowered


_SHAPED = {"scopes", "default_roles", "group_roles", "has_secret"}


def draft(request: CreateIdentityProvider, sealed: bytes | None, *, project: str, by: str, now: datetime) -> Provider:
    """The provider that was asked for; raises InvalidInput naming the field that cannot be."""
    provider = Provider(
        name=request.name,
        project=project,
        issuer=_checked(request.issuer, "issuer"),
        client_id=request.client_id,
        sealed=sealed,
        public_url=_checked(request.public_url, "public_url"),
        scopes=_scopes(request.scopes),
        name_claim=request.name_claim,
        groups_claim=request.groups_claim,
        group_roles=_mapped(request.group_roles),
        default_roles=ordered(request.default_roles),
        created_by=by,
        created_at=now,
    )
    return _giving(provider)


def changed(provider: Provider, request: ChangeIdentityProvider, now: datetime) -> Provider:
    """The provider with what the request names; the issuer stays, as other people would be taken for its own."""
    given: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(request, name)) is not None}
    if request.public_url is not None:
        given["public_url"] = _checked(request.public_url, "public_url")
    if request.scopes is not None:
        given["scopes"] = _scopes(request.scopes)
    if request.group_roles is not None:
        given["group_roles"] = _mapped(request.group_roles)
    if request.default_roles is not None:
        given["default_roles"] = ordered(request.default_roles)
    if request.disabled is not None:
        given["disabled_at"] = (provider.disabled_at or now) if request.disabled else None
    return _giving(replace(provider, **given))


def _giving(provider: Provider) -> Provider:
    if not provider.default_roles and not any(provider.group_roles.values()):
        raise InvalidInput("nobody could come in: name roles of groups, or default_roles", field="group_roles")
    return provider


def _mapped(group_roles: Mapping[str, Iterable[Role]]) -> dict[str, tuple[Role, ...]]:
    return {group: ordered(roles) for group, roles in group_roles.items()}


def _scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    if "openid" not in scopes:
        raise InvalidInput("the scope openid must be among them", field="scopes")
    return tuple(dict.fromkeys(scopes))


def _checked(url: str, field: str) -> str:
    if not is_safe(url) or "?" in url:
        raise InvalidInput("this is no URL of https, without a user and a query; http is for loopback", field=field)
    return url


def is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what is sent there."""
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", url) and not set(url) & {"\\", '"', "<", ">", "#"} and "@" not in parts.netloc
    if not plain or not parts.hostname or not has_port:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def purpose(name: str) -> str:
    """What a client secret is sealed for; the same in SQL, in `store.SECRETS`."""
    return f"oidc/{name}"


@dataclass(frozen=True)
class PendingLogin:
    """A login that is with the provider, by digests alone."""

    state_digest: str
    browser_digest: str
    provider: str
    forward_to: str
    ends_at: datetime

    def is_of(self, provider: str, browser: str, now: datetime) -> bool:
        """Whether this browser began it, there, and not too long ago."""
        same = secrets.compare_digest(self.browser_digest, key_digest(browser))
        return same and self.provider == provider and now < self.ends_at


def pending(state: str, browser: str, provider: str, forward_to: str, now: datetime) -> PendingLogin:
    return PendingLogin(key_digest(state), key_digest(browser), provider, _forward(forward_to), now + LASTS)


def _forward(url: str) -> str:
    """A port of the own machine: tokens never go there, and a code only who began can use."""
    found = re.fullmatch(r"http://(127\.0\.0\.1|\[::1\]):(\d{1,5})/[A-Za-z0-9/_-]{0,100}", url)
    if url and (found is None or not 0 < int(found[2]) < 65536):
        raise InvalidInput("forward_to is a port of your own machine, as http://127.0.0.1:8400/", field="forward_to")
    return url


def new_secret() -> str:
    return secrets.token_urlsafe(BYTES)


def derived(browser: str, what: str) -> str:
    """The nonce or the verifier of PKCE: from the browser's secret, so that neither is kept anywhere."""
    return _encoded(sha256(f"{what}/{browser}".encode()).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def location(provider: Provider, endpoint: str, state: str, browser: str) -> str:
    """Where the provider asks the person who they are."""
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": state,
        "nonce": derived(browser, "nonce"),
        "code_challenge": _encoded(sha256(derived(browser, "verifier").encode()).digest()),
        "code_challenge_method": "S256",
    }
    return endpoint + ("&" if "?" in endpoint else "?") + urlencode(query)
