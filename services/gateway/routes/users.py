"""People who log in: passwords, and the users that an administrator lets in."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import FastAPI, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.errors import Forbidden
from shared.permissions import Permission, Role
from shared.rpc import auth as rpc

ROUTES = Routes("users")
JWKS = "/.well-known/jwks.json"
JWKS_HEADERS = {"Cache-Control": "max-age=60"}
Kind = Literal["key", "user", "service"]
UserId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class Me(BaseModel):
    """Whose key or token this is, what it permits, and until when it counts."""

    id: str
    kind: Kind
    project: str
    permissions: list[Permission]
    expires_at: datetime | None


class UserChange(BaseModel):
    """What is named changes."""

    model_config = ConfigDict(extra="forbid")
    roles: list[Role] | None = Field(default=None, min_length=1, max_length=len(Role))
    disabled: StrictBool | None = None


class PasswordChange(BaseModel):
    """The current password proves who asks."""

    model_config = ConfigDict(extra="forbid")
    current_password: rpc.GivenPassword
    new_password: rpc.NewPassword


@ROUTES.add("GET", "/me", Permission.MODELS_READ)
async def show_me(caller: CallerOf) -> Me:
    """Who asks; every role may, so that a client can tell what its key is good for."""
    who = caller.principal
    expires_at = datetime.fromtimestamp(who.expires, UTC) if who.expires is not None else None
    kind: Kind = "key" if who.epoch is None else "user" if who.session else "service"
    permissions = sorted(who.permissions)
    return Me(id=who.key_id, kind=kind, project=who.project, permissions=permissions, expires_at=expires_at)


@ROUTES.add("PUT", "/me/password", Permission.PASSWORD_CHANGE, status_code=204)
async def change_password(body: PasswordChange, caller: CallerOf) -> None:
    """Take another password; all sessions end, this one too."""
    if not caller.principal.session:
        raise Forbidden("only a person who logged in has a password: an API key or a service account has none")
    given = {"current_password": body.current_password, "new_password": body.new_password}
    await caller.ask(rpc.ChangePassword(user_id=caller.principal.key_id, **given))


@ROUTES.add("GET", "/users", Permission.USERS_MANAGE)
async def list_users(caller: CallerOf) -> rpc.UserList:
    """The users of the project, newest first."""
    return await caller.ask(rpc.ListUsers())


@ROUTES.add("POST", "/users", Permission.USERS_MANAGE, status_code=201)
async def create_user(
    body: rpc.CreateUser, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> rpc.UserWithPassword:
    """Let a person log in; the first password is in this answer and nowhere else.

    The same Idempotency-Key makes no second user: a repeat is answered with 409, which names the one that was made.
    """
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("PATCH", "/users/{user_id}", Permission.USERS_MANAGE)
async def update_user(user_id: UserId, body: UserChange, caller: CallerOf) -> rpc.UserView:
    """Give a user other roles, which count at once; disable a user, which ends all sessions, or enable again."""
    return await caller.ask(rpc.UpdateUser(user_id=user_id, roles=body.roles, disabled=body.disabled))


@ROUTES.add("POST", "/users/{user_id}/password", Permission.USERS_MANAGE)
async def reset_password(user_id: UserId, caller: CallerOf, response: Response) -> rpc.UserWithPassword:
    """Make another password for a user who lost it; all sessions end."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(rpc.ResetPassword(user_id=user_id))


@ROUTES.add("POST", "/signing-keys", Permission.KEYS_MANAGE, platform=True, status_code=201)
async def rotate_signing_key(caller: CallerOf, idempotency_key: IdempotencyKey = "") -> rpc.SigningKeyView:
    """Sign tokens with a new key; those signed before go on until they end."""
    return await caller.ask(rpc.RotateSigningKey(), idempotency_key=idempotency_key)


def install_jwks(app: FastAPI) -> None:
    """Let the app show the public keys that sign tokens (RFC 7517), in the place where others look for them."""
    app.router.routes.append(Route(JWKS, _show_jwks, methods=["GET"]))


async def _show_jwks(request: Request) -> Response:
    keys = request.app.state.edges.gatekeeper.signing_keys()
    return JSONResponse({"keys": keys}, headers=JWKS_HEADERS)
