"""Sessions of people: logging in, going on with a refresh token, and ending one."""

from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict

from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from shared.errors import Forbidden, NotFound
from shared.permissions import Permission
from shared.rpc import sessions as rpc
from shared.rpc.auth import LoggedIn
from shared.rpc.sessions import SERVICE

ROUTES = Routes("sessions")
LOGIN, REFRESH = f"{PREFIX}/login", f"{PREFIX}/login/refresh"
SessionId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class RefreshForm(BaseModel):
    """The refresh token of the answer before; it counts once."""

    model_config = ConfigDict(extra="forbid")
    refresh_token: rpc.RefreshToken


@ROUTES.add("POST", "/login", None)
async def log_in(body: rpc.LoginForm, caller: CallerOf, response: Response) -> LoggedIn:
    """Begin a session: a token for the Authorization header, in place of an API key, and one to go on with."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(rpc.Login(**body.model_dump(), address=caller.address), service=SERVICE)


@ROUTES.add("POST", "/login/refresh", None)
async def refresh(body: RefreshForm, caller: CallerOf, response: Response) -> LoggedIn:
    """The next pair of tokens; a refresh token that was used before ends its session at once."""
    response.headers["Cache-Control"] = "no-store"
    asked = rpc.RefreshSession(refresh_token=body.refresh_token, address=caller.address)
    return await caller.ask(asked, service=SERVICE)


@ROUTES.add("POST", "/logout", Permission.PASSWORD_CHANGE, status_code=204)
async def log_out(caller: CallerOf) -> None:
    """End the session of this token, on every gateway."""
    await _end(caller, caller.principal.session)


@ROUTES.add("GET", "/me/sessions", Permission.PASSWORD_CHANGE)
async def list_sessions(caller: CallerOf) -> rpc.SessionList:
    """Your sessions that last, the one used last first."""
    return await caller.ask(rpc.ListSessions(user_id=person(caller)), service=SERVICE)


@ROUTES.add("DELETE", "/me/sessions/{session_id}", Permission.PASSWORD_CHANGE, status_code=204)
async def end_session(session_id: SessionId, caller: CallerOf) -> None:
    """End one of your sessions, on every gateway."""
    if not caller.principal.session:
        raise NotFound("an API key or a service account has no sessions", field="session_id")
    await _end(caller, session_id)


async def _end(caller: Caller, session_id: str) -> None:
    await caller.ask(rpc.EndSession(user_id=person(caller), session_id=session_id), service=SERVICE)


def person(caller: Caller) -> str:
    """The id of the user who logged in; raises Forbidden for a key or a service account."""
    if not caller.principal.session:
        raise Forbidden("only a person who logged in has this: an API key or a service account has no session")
    return caller.principal.key_id
