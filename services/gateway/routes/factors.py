"""Second factors of people: the codes of an authenticator app, asked for at each login once they are set up."""

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.sessions import person
from services.gateway.routes.users import UserId
from shared.permissions import Permission
from shared.rpc import factors as rpc
from shared.rpc.factors import SERVICE

ROUTES = Routes("users")


class CodeForm(BaseModel):
    """A code that the app shows now, or a recovery code."""

    model_config = ConfigDict(extra="forbid")
    code: rpc.Code


@ROUTES.add("GET", "/me/totp", Permission.PASSWORD_CHANGE)
async def show_totp(caller: CallerOf) -> rpc.TotpView:
    """Whether you are asked for a code at each login."""
    return await caller.ask(rpc.ShowTotp(user_id=person(caller)), service=SERVICE)


@ROUTES.add("POST", "/me/totp", Permission.PASSWORD_CHANGE, status_code=201)
async def begin_totp(caller: CallerOf, response: Response) -> rpc.TotpBegun:
    """A secret for an authenticator app; it counts once a code confirms it."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(rpc.BeginTotp(user_id=person(caller)), service=SERVICE)


@ROUTES.add("PUT", "/me/totp", Permission.PASSWORD_CHANGE)
async def confirm_totp(body: CodeForm, caller: CallerOf, response: Response) -> rpc.RecoveryCodes:
    """Be asked for a code at each login from now on; the recovery codes are in this answer and nowhere else."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(rpc.ConfirmTotp(user_id=person(caller), code=body.code), service=SERVICE)


@ROUTES.add("DELETE", "/me/totp", Permission.PASSWORD_CHANGE, status_code=204)
async def remove_own_totp(body: CodeForm, caller: CallerOf) -> None:
    """Be asked for no code any more; a code, or a recovery code, proves that it is you."""
    await caller.ask(rpc.RemoveOwnTotp(user_id=person(caller), code=body.code), service=SERVICE)


@ROUTES.add("DELETE", "/users/{user_id}/totp", Permission.USERS_MANAGE, status_code=204)
async def remove_totp(user_id: UserId, caller: CallerOf) -> None:
    """Ask a user who lost the app for no code any more."""
    await caller.ask(rpc.RemoveTotp(user_id=user_id), service=SERVICE)


@ROUTES.add("DELETE", "/users/{user_id}/lock", Permission.USERS_MANAGE, status_code=204)
async def unlock(user_id: UserId, caller: CallerOf) -> None:
    """Let a user who failed too often try again at once."""
    await caller.ask(rpc.Unlock(user_id=user_id), service=SERVICE)
