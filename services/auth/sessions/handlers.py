"""The requests about sessions that last."""

from datetime import UTC, datetime
from typing import Any, Protocol

from services.auth import store as auth_store
from services.auth.sessions import store
from services.auth.sessions.desk import SessionDesk
from shared.handlers import RpcHandler
from shared.rpc import sessions as rpc
from shared.rpc.auth import LoggedIn
from shared.rpc.base import Done, Request
from shared.work import Work as AnyWork


class HasSessions(Protocol):
    """Parts that sessions are handled with."""

    @property
    def sessions(self) -> SessionDesk: ...

    async def look(self) -> None: ...


Work = AnyWork[HasSessions]


async def refresh_session(request: rpc.RefreshSession, parts: HasSessions) -> LoggedIn:
    return await parts.sessions.refresh(request)


async def list_sessions(request: rpc.ListSessions, work: Work) -> rpc.SessionList:
    user = await auth_store.lock_self(work.tx, request.user_id)
    found, idle = await store.listed(work.tx, user.id, user.epoch), work.parts.sessions.lifetimes.idle
    now = datetime.now(UTC)
    return rpc.SessionList(sessions=[session.view(idle) for session in found if session.lasts(user, now, idle)])


async def end_session(request: rpc.EndSession, work: Work) -> Done:
    """A repeat tells the gateways again, which is harmless."""
    user = await auth_store.lock_self(work.tx, request.user_id)
    session = await store.lock(work.tx, user.id, request.session_id)
    await work.parts.sessions.end(work, user, session)
    work.then(work.parts.look)
    return Done()


SESSION_RPC: dict[type[Request[Any]], RpcHandler] = {rpc.ListSessions: list_sessions, rpc.EndSession: end_session}
SESSION_MEMORY_RPC: dict[type[Request[Any]], RpcHandler] = {rpc.RefreshSession: refresh_session}
