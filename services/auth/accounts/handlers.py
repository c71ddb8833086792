"""The requests about service accounts: load, decide, save, say."""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from services.auth import entries
from services.auth.accounts import domain, store
from services.auth.accounts.domain import Account
from services.auth.grants import desk
from services.auth.grants import store as grants_store
from services.auth.sessions.desk import SessionDesk
from shared.errors import Unauthenticated
from shared.events.identity import ServiceAccountCreated, ServiceAccountDeleted, ServiceAccountRotated
from shared.handlers import RpcHandler
from shared.rpc import accounts as rpc
from shared.rpc.auth import LoggedIn
from shared.rpc.base import Done, Request
from shared.work import Work as AnyWork


class HasSessions(Protocol):
    """Parts that service accounts are handled with."""

    @property
    def sessions(self) -> SessionDesk: ...

    async def look(self) -> None: ...


Work = AnyWork[HasSessions]


async def create_service_account(request: rpc.CreateServiceAccount, work: Work) -> rpc.ServiceAccountWithSecret:
    secret, by, now = domain.new_secret(), work.context.actor, datetime.now(UTC)
    account = domain.draft(secret, request.name, request.roles, project=work.project, by=by, now=now)
    await desk.check_may_give(work, account.roles)
    await store.insert(work.tx, account)
    await entries.put_account(work, account)
    work.then(work.parts.look)
    work.say(ServiceAccountCreated(**_said(account, work), roles=account.roles))
    return _with_secret(account, secret)


async def list_service_accounts(_: rpc.ListServiceAccounts, work: Work) -> rpc.ServiceAccountList:
    return rpc.ServiceAccountList(accounts=[account.view() for account in await store.listed(work.tx, work.project)])


async def rotate_service_account(request: rpc.RotateServiceAccount, work: Work) -> rpc.ServiceAccountWithSecret:
    account = await store.lock(work.tx, work.project, request.account_id)
    await desk.check_may_stand_for(work, "account", account)
    secret, overlap = domain.new_secret(), timedelta(seconds=request.overlap_seconds)
    rotated = domain.rotated(account, secret, overlap, datetime.now(UTC))
    await store.save(work.tx, rotated)
    work.say(ServiceAccountRotated(**_said(account, work)))
    return _with_secret(rotated, secret)


async def delete_service_account(request: rpc.DeleteServiceAccount, work: Work) -> Done:
    account = await store.lock(work.tx, work.project, request.account_id)
    await grants_store.delete_grants_of(work.tx, "account", account.id)
    await store.delete(work.tx, account)
    entries.remove_account(work, account)
    work.then(work.parts.look)
    work.say(ServiceAccountDeleted(**_said(account, work)))
    return Done()


async def issue_token(request: rpc.IssueToken, work: Work) -> LoggedIn:
    """An unknown account and a wrong secret are the same error."""
    account = await store.find(work.tx, request.client_id)
    if account is None or not account.accepts(request.client_secret, datetime.now(UTC)):
        raise Unauthenticated("the client id or the client secret is wrong")
    return await work.parts.sessions.issue(work, account)


def _said(account: Account, work: Work) -> dict[str, str]:
    return {"account_id": account.id, "name": account.name, "actor": work.context.actor}


def _with_secret(account: Account, secret: str) -> rpc.ServiceAccountWithSecret:
    return rpc.ServiceAccountWithSecret(**account.view().model_dump(), client_secret=secret)


ACCOUNT_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.CreateServiceAccount: create_service_account,
    rpc.ListServiceAccounts: list_service_accounts,
    rpc.RotateServiceAccount: rotate_service_account,
    rpc.DeleteServiceAccount: delete_service_account,
    rpc.IssueToken: issue_token,
}
