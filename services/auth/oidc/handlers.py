"""The requests about identity providers: load, decide, save, say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from services.auth.grants.desk import check_may_give
from services.auth.oidc import domain, store
from services.auth.oidc.desk import OidcDesk
from services.auth.oidc.domain import Provider
from shared.events.identity import IdentityProviderChanged, IdentityProviderCreated, IdentityProviderDeleted
from shared.handlers import RpcHandler
from shared.rpc import oidc as rpc
from shared.rpc.base import Done, Request
from shared.work import Work as AnyWork


class HasOidc(Protocol):
    """Parts that identity providers are handled with."""

    @property
    def oidc(self) -> OidcDesk: ...


Work = AnyWork[HasOidc]


async def create_identity_provider(request: rpc.CreateIdentityProvider, work: Work) -> rpc.IdentityProviderView:
    sealed, now = work.parts.oidc.seal(request.client_secret, request.name), datetime.now(UTC)
    provider = domain.draft(request, sealed, project=work.project, by=work.context.actor, now=now)
    await check_may_give(work, provider.roles)
    await store.insert(work.tx, provider)
    work.say(IdentityProviderCreated(**_said(provider, work), issuer=provider.issuer))
    return provider.view()


async def list_identity_providers(_: rpc.ListIdentityProviders, work: Work) -> rpc.IdentityProviderList:
    found = await store.listed(work.tx, work.project)
    return rpc.IdentityProviderList(providers=[provider.view() for provider in found])


async def change_identity_provider(request: rpc.ChangeIdentityProvider, work: Work) -> rpc.IdentityProviderView:
    provider = await store.lock(work.tx, work.project, request.name)
    changed = domain.changed(provider, request, datetime.now(UTC))
    await check_may_give(work, changed.roles)
    if request.client_secret is not None:
        changed = replace(changed, sealed=work.parts.oidc.seal(request.client_secret, request.name))
    await store.save(work.tx, changed)
    work.say(IdentityProviderChanged(**_said(changed, work), disabled=changed.disabled_at is not None))
    return changed.view()


async def delete_identity_provider(request: rpc.DeleteIdentityProvider, work: Work) -> Done:
    provider = await store.lock(work.tx, work.project, request.name)
    await store.delete(work.tx, provider)
    work.say(IdentityProviderDeleted(**_said(provider, work)))
    return Done()


async def begin_provider_login(request: rpc.BeginProviderLogin, parts: HasOidc) -> rpc.ProviderLoginBegun:
    return await parts.oidc.begin(request)


async def end_provider_login(request: rpc.EndProviderLogin, parts: HasOidc) -> rpc.ProviderLoginEnded:
    return await parts.oidc.end(request)


def _said(provider: Provider, work: Work) -> dict[str, str]:
    return {"name": provider.name, "actor": work.context.actor}


OIDC_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.CreateIdentityProvider: create_identity_provider,
    rpc.ListIdentityProviders: list_identity_providers,
    rpc.ChangeIdentityProvider: change_identity_provider,
    rpc.DeleteIdentityProvider: delete_identity_provider,
}
OIDC_MEMORY_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.BeginProviderLogin: begin_provider_login,
    rpc.EndProviderLogin: end_provider_login,
}
