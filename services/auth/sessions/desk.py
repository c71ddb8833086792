"""Beginning a session, going on with one and ending it: whoever has let a user in comes here for the tokens."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from services.auth import entries, tokens, users
from services.auth import store as auth_store
from services.auth.bootstrap import Transaction
from services.auth.factors.desk import FactorDesk
from services.auth.grants import store as grants
from services.auth.keyring import Keyring
from services.auth.projects import domain as projects_domain
from services.auth.projects import store as projects
from services.auth.sessions import domain, store
from services.auth.sessions.domain import Lifetimes, Session, Verdict
from services.auth.tokens import Owner
from services.auth.users import User
from shared.context import Context
from shared.db import Connection
from shared.errors import Unauthenticated
from shared.events.identity import SessionEnded, SessionReused, SessionStarted
from shared.rpc.auth import LoggedIn
from shared.rpc.sessions import RefreshSession
from shared.work import Work

OVER = "this session has ended: log in again"
USED = "this refresh token was used before, so somebody else may have it: the session has ended; log in again"


async def may_enter(tx: Connection, user: User, project: str) -> bool:
    """Whether the project is the user's own, or one where a grant counts, and is not archived."""
    held = await grants.held(tx, "user", user.id)
    return projects_domain.may_enter(user, project, held, datetime.now(UTC)) and await projects.is_open(tx, project)


class SessionDesk:
    """Gives out access and refresh tokens."""

    def __init__(
        self,
        transaction: Transaction,
        announce: Callable[[list[str]], Awaitable[None]],
        keyring: Keyring,
        factors: FactorDesk,
        token_seconds: int,
        lifetimes: Lifetimes,
    ) -> None:
        self._transaction = transaction
        self._announce = announce
        self._keyring = keyring
        self._factors = factors
        self._token_seconds = token_seconds
        self.lifetimes = lifetimes

    async def begin(self, work: Work[Any], user: User, address: str, project: str = "") -> LoggedIn:
        """A new session of a user who proved to be it and may enter the project, with the transaction."""
        session, token = domain.begin(user, address, datetime.now(UTC), self.lifetimes, project)
        await store.insert(work.tx, session)
        work.say(SessionStarted(session_id=session.id, user_id=user.id, name=user.name, address=address, actor=user.id))
        return await self._tokens(work, user, session, token)

    async def refresh(self, request: RefreshSession) -> LoggedIn:
        """The next pair of tokens; what ends the session is kept before it is told."""
        session_id = domain.session_of(request.refresh_token)
        if session_id is None:
            raise Unauthenticated("this is no refresh token of ours: log in again")
        project, user_id = await self._owner(session_id)
        async with self._transaction(Context(project=project, actor=user_id)) as work:
            user = await auth_store.lock_user(work.tx, project, user_id)
            answer = await self._refreshed(work, user, session_id, request)
        if answer is None:
            await self._announce(work.written)
            raise Unauthenticated(USED)
        return answer

    async def _owner(self, session_id: str) -> tuple[str, str]:
        async with self._transaction(Context(actor="auth")) as work:
            owner = await store.owner(work.tx, session_id)
        if owner is None:
            raise Unauthenticated(OVER)
        return owner

    async def _refreshed(
        self, work: Work[Any], user: User, session_id: str, request: RefreshSession
    ) -> LoggedIn | None:
        """None where the token was used before, which ends its session; its user is held."""
        session = await store.lock(work.tx, user.id, session_id)
        now, token = datetime.now(UTC), request.refresh_token
        verdict = domain.judge(session, token, now, self.lifetimes.grace)
        if verdict is Verdict.UNKNOWN or not session.lasts(user, now, self.lifetimes.idle):
            raise Unauthenticated(OVER)
        if verdict is Verdict.REUSED:
            work.say(SessionReused(session_id=session.id, user_id=user.id, name=user.name, address=request.address))
            await self.end(work, user, session)
            return None
        if not await may_enter(work.tx, user, session.project):
            raise Unauthenticated("you may not enter this project any more: log in to another one")
        if verdict is Verdict.REPEATED:
            return await self._tokens(work, user, session, domain.successor(session, token))
        turned, following = domain.turn(session, token, request.address, now)
        await store.save(work.tx, turned)
        return await self._tokens(work, user, turned, following)

    async def end(self, work: Work[Any], user: User, session: Session) -> None:
        """End one session, and let the gateways know for as long as a token of it may count."""
        now = datetime.now(UTC)
        await store.save(work.tx, domain.ended(session, now))
        changed = users.without_session(user, session.id, now + tokens.LONGEST, now)
        await auth_store.save_user(work.tx, changed)
        await entries.put_user(work, changed)
        about = {"session_id": session.id, "user_id": user.id, "name": user.name}
        work.say(SessionEnded(**about, actor=work.context.actor))

    async def _tokens(self, work: Work[Any], user: User, session: Session, refresh_token: str) -> LoggedIn:
        is_short = await self._factors.is_missing(work.tx, user)
        issued = await self.issue(work, user, session.project, session.id, is_short)
        given = {"refresh_token": refresh_token, "session_id": session.id, "second_factor_missing": is_short}
        return issued.model_copy(update=given)

    async def issue(
        self, work: Work[Any], owner: Owner, project: str = "", session_id: str = "", needs_factor: bool = False
    ) -> LoggedIn:
        """An access token alone, of a session or of a service account."""
        keys, now = await auth_store.signing_keys(work.tx), datetime.now(UTC)
        private = self._keyring.private(tokens.choose(keys, self._keyring.kids, now).kid)
        given = (owner, private, now, self._token_seconds, project, session_id, needs_factor)
        return LoggedIn(access_token=await asyncio.to_thread(tokens.issue, *given), expires_in=self._token_seconds)
