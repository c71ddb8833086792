"""Identity providers, and logging in through one (OpenID Connect)."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Cookie, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.responses import RedirectResponse

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc import oidc as rpc
from shared.rpc.auth import LoggedIn
from shared.rpc.oidc import SERVICE

ROUTES = Routes("identity providers")
UNDER = f"{PREFIX}/login/oidc/"
TEMPLATES = {f"{UNDER}{{provider}}", f"{UNDER}{{provider}}/callback"}
COOKIE = "aimass_login"
ASK_SECONDS = 20.0
NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
Forward = Annotated[str, Query(max_length=200, description="a port of your own machine, where a program waits")]
State = Annotated[str, Query(max_length=200)]
Code = Annotated[str, Query(max_length=4000)]
Refusal = Annotated[str, Query(max_length=200, description="why the provider let nobody in")]
Browser = Annotated[str, Cookie(alias=COOKIE, max_length=200)]


class IdentityProviderChange(BaseModel):
    """What is named changes; the issuer cannot, as other people would be taken for its own."""

    model_config = ConfigDict(extra="forbid")
    client_id: rpc.ClientId | None = None
    client_secret: rpc.ClientSecret | None = Field(default=None, repr=False)
    public_url: rpc.Url | None = None
    scopes: rpc.Scopes | None = None
    name_claim: rpc.Claim | None = None
    groups_claim: rpc.Claim | None = None
    group_roles: rpc.GroupRoles | None = None
    default_roles: rpc.Roles | None = None
    disabled: StrictBool | None = None


@ROUTES.add("GET", "/identity-providers", Permission.USERS_MANAGE)
async def list_identity_providers(caller: CallerOf) -> rpc.IdentityProviderList:
    """The identity providers of the project by name, without their secrets."""
    return await caller.ask(rpc.ListIdentityProviders(), service=SERVICE)


@ROUTES.add("POST", "/identity-providers", Permission.USERS_MANAGE, status_code=201)
async def create_identity_provider(
    body: rpc.CreateIdentityProvider, caller: CallerOf, idempotency_key: IdempotencyKey = ""
) -> rpc.IdentityProviderView:
    """Let people log in through a provider; it must know the `redirect_uri` of the answer."""
    return await caller.ask(body, service=SERVICE, idempotency_key=idempotency_key)


@ROUTES.add("PATCH", "/identity-providers/{name}", Permission.USERS_MANAGE)
async def change_identity_provider(
    name: Slug, body: IdentityProviderChange, caller: CallerOf
) -> rpc.IdentityProviderView:
    """Change what is named, such as a secret or the roles of groups, or let nobody in through it any more."""
    return await caller.ask(rpc.ChangeIdentityProvider(name=name, **body.model_dump()), service=SERVICE)


@ROUTES.add("DELETE", "/identity-providers/{name}", Permission.USERS_MANAGE, status_code=204)
async def delete_identity_provider(name: Slug, caller: CallerOf) -> None:
    """Forget a provider through which nobody came."""
    await caller.ask(rpc.DeleteIdentityProvider(name=name), service=SERVICE)


@ROUTES.add("GET", "/login/oidc/{provider}", None, status_code=303, response_class=RedirectResponse)
async def begin_provider_login(provider: Slug, caller: CallerOf, forward_to: Forward = "") -> Response:
    """Go to the provider, which asks the person who they are; the cookie is how their browser is known later."""
    asked = rpc.BeginProviderLogin(provider=provider, forward_to=forward_to)
    begun = await caller.ask(asked, service=SERVICE, seconds=ASK_SECONDS)
    response = RedirectResponse(begun.location, 303, NOT_KEPT)
    path, secure = UNDER + provider, begun.is_secure
    response.set_cookie(COOKIE, begun.browser, 600, path=path, secure=secure, httponly=True, samesite="lax")
    return response


@ROUTES.add(
    "GET",
    "/login/oidc/{provider}/callback",
    None,
    response_model=LoggedIn,
    responses={303: {"description": "on to the program that began this login"}},
)
async def end_provider_login(
    provider: Slug,
    caller: CallerOf,
    state: State = "",
    code: Code = "",
    error: Refusal = "",
    aimass_login: Browser = "",
) -> Response:
    """Where the provider sends the browser: a session, once, for the browser that began."""
    asked = rpc.EndProviderLogin(
        provider=provider, state=state, code="" if error else code, browser=aimass_login, address=caller.address
    )
    ended = await caller.ask(asked, service=SERVICE, seconds=ASK_SECONDS)
    if ended.session is None:
        query = urlencode({"state": state, "code": code})
        return RedirectResponse(f"{ended.forward_to}?{query}", 303, NOT_KEPT)
    response = Response(ended.session.model_dump_json(), media_type="application/json", headers=NOT_KEPT)
    response.delete_cookie(COOKIE, path=UNDER + provider)
    return response
