"""The requests about second factors: load, decide, save, say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from services.auth import store as auth_store
from services.auth.factors import domain, store
from services.auth.factors.desk import FactorDesk
from services.auth.grants import desk
from services.auth.users import User
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.identity import SecondFactorAdded, SecondFactorRemoved
from shared.handlers import RpcHandler
from shared.rpc import factors as rpc
from shared.rpc.base import Done, Request
from shared.work import Work as AnyWork


class HasFactors(Protocol):
    """Parts that second factors are handled with."""

    @property
    def factors(self) -> FactorDesk: ...


Work = AnyWork[HasFactors]


async def show_totp(request: rpc.ShowTotp, work: Work) -> rpc.TotpView:
    user = await auth_store.lock_self(work.tx, request.user_id)
    factor = await store.lock(work.tx, user.id)
    is_on = factor is not None and factor.confirmed_at is not None
    return rpc.TotpView(enabled=is_on, recovery_codes_left=len(factor.recovery) if factor else 0)


async def begin_totp(request: rpc.BeginTotp, work: Work) -> rpc.TotpBegun:
    """One that was begun and not confirmed is replaced."""
    user = await auth_store.lock_self(work.tx, request.user_id)
    if await store.has(work.tx, user.id):
        raise Conflict("you have a second factor already: remove it first")
    factor, secret = work.parts.factors.draft(user.id)
    await store.save(work.tx, factor)
    return rpc.TotpBegun(secret=secret, uri=domain.uri(secret, user.name))


async def confirm_totp(request: rpc.ConfirmTotp, work: Work) -> rpc.RecoveryCodes:
    """The code proves that the app has the secret; it counts no more, also not to log in."""
    user = await auth_store.lock_self(work.tx, request.user_id)
    factor = await store.lock(work.tx, user.id)
    if factor is None:
        raise Conflict("begin first: POST /api/v1/me/totp gives the secret")
    if factor.confirmed_at is not None:
        raise Conflict("you have a second factor already: remove it first")
    used = work.parts.factors.accept(factor, request.code)
    if used is None:
        raise InvalidInput("this is not the code that the app shows now; is its clock right?", field="code")
    codes = domain.new_recovery_codes()
    await store.save(work.tx, domain.with_codes(replace(used, confirmed_at=datetime.now(UTC)), codes))
    work.say(SecondFactorAdded(**_said(work, user)))
    return rpc.RecoveryCodes(recovery_codes=codes)


async def remove_totp(request: rpc.RemoveTotp, work: Work) -> Done:
    """By an admin, for a user who lost the app and the recovery codes."""
    user = await auth_store.lock_user(work.tx, work.project, request.user_id)
    await desk.check_may_stand_for(work, "user", user)
    if not await store.delete(work.tx, user.id):
        raise NotFound(f"the user {user.name!r} has no second factor", field="user_id")
    work.say(SecondFactorRemoved(**_said(work, user)))
    return Done()


def _said(work: Work, user: User) -> dict[str, str]:
    return {"user_id": user.id, "name": user.name, "actor": work.context.actor}


FACTOR_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.ShowTotp: show_totp,
    rpc.BeginTotp: begin_totp,
    rpc.ConfirmTotp: confirm_totp,
    rpc.RemoveTotp: remove_totp,
}
