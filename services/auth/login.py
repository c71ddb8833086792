"""Logging in and changing the own password: attempts are counted in transactions of their own, before the hashing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from services.auth import entries, store, users
from services.auth.bootstrap import Transaction
from services.auth.factors import store as factor_store
from services.auth.factors.desk import FactorDesk
from services.auth.passwords import Passwords
from services.auth.sessions.desk import SessionDesk, may_enter
from services.auth.users import User
from shared.context import Context
from shared.credentials import key_digest
from shared.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from shared.events.identity import PasswordChanged, SecondFactorRemoved
from shared.rpc.auth import ChangePassword, LoggedIn
from shared.rpc.base import Done
from shared.rpc.factors import RemoveOwnTotp
from shared.rpc.sessions import Login

WRONG = "name or password is wrong"


class Doorman:
    """Checks names and passwords; no transaction is open while a password is hashed."""

    def __init__(
        self,
        transaction: Transaction,
        announce: Callable[[list[str]], Awaitable[None]],
        passwords: Passwords,
        sessions: SessionDesk,
        factors: FactorDesk,
        address_failures: int,
    ) -> None:
        self._transaction = transaction
        self._announce = announce
        self._passwords = passwords
        self._sessions = sessions
        self._factors = factors
        self._address_failures = address_failures

    async def log_in(self, request: Login) -> LoggedIn:
        """A token; a wrong password, an unknown name and a disabled user are the same 401 at the same cost.

        Raises Forbidden, to who proved to be the user alone, for a project that is not the user's, or is archived.
        """
        user = await self._begin(request.name, request.address)
        if not await self._passwords.matches(user.password_hash if user else None, request.password):
            raise Unauthenticated(WRONG)
        assert user is not None
        return await self._admit(user, request)

    async def _begin(self, name: str, address: str = "") -> User | None:
        """Count the attempt, and find who it may be."""
        digest, now = key_digest(name), datetime.now(UTC)
        async with self._transaction(Context(actor="auth")) as work:
            if self._address_failures and (origin := _origin(address)):
                attempts = await store.lock_attempts(work.tx, origin)
                counted = users.begin_attempt_from(attempts, self._address_failures, now)
                await store.save_attempts(work.tx, origin, counted)
            attempts = await store.lock_attempts(work.tx, digest)
            await store.save_attempts(work.tx, digest, users.begin_attempt(attempts, now))
            return await store.find_user(work.tx, name)

    async def _admit(self, user: User, request: Login) -> LoggedIn:
        """The user as now, who may have been let out or got another password meanwhile."""
        async with self._transaction(Context(project=user.project, actor=user.id)) as work:
            current = await store.lock_user(work.tx, user.project, user.id)
            if current.disabled_at or current.epoch != user.epoch:
                raise Unauthenticated(WRONG)
            await self._factors.check(work, current, request.code)
            await store.forget_attempts(work.tx, key_digest(user.name))
            await store.uncount_attempt(work.tx, _origin(request.address))
            project = request.project or user.project
            if not await may_enter(work.tx, current, project):
                raise Forbidden(f"this user may not enter the project {project!r}: it is another one, or archived")
            return await self._sessions.begin(work, current, request.address, project)

    async def change_password(self, request: ChangePassword) -> Done:
        """Answered when every gateway can know that the sessions ended."""
        user = await self._proved(request)
        await asyncio.to_thread(users.check_password, request.new_password, user.name)
        password_hash = await self._passwords.hash(request.new_password)
        async with self._transaction(Context(project=user.project, actor=user.id)) as work:
            current = await store.lock_user(work.tx, user.project, user.id)
            if current.disabled_at or current.epoch != user.epoch:
                raise Unauthenticated("this session has ended: log in again")
            changed = users.with_password(current, password_hash)
            await store.save_user(work.tx, changed)
            await store.forget_attempts(work.tx, key_digest(user.name))
            await entries.put_user(work, changed)
            work.say(PasswordChanged(user_id=user.id, name=user.name, actor=user.id))
        await self._announce(work.written)
        return Done()

    async def remove_factor(self, request: RemoveOwnTotp) -> Done:
        """A wrong code counts as an attempt to log in."""
        user = await self._begin(await self._name_of(request.user_id))
        assert user is not None
        async with self._transaction(Context(project=user.project, actor=user.id)) as work:
            current = await store.lock_user(work.tx, user.project, user.id)
            await self._factors.check(work, current, request.code)
            if not await factor_store.delete(work.tx, user.id):
                raise Conflict("you have no second factor")
            await store.forget_attempts(work.tx, key_digest(user.name))
            work.say(SecondFactorRemoved(user_id=user.id, name=user.name, actor=user.id))
        return Done()

    async def _proved(self, request: ChangePassword) -> User:
        """The user, if the current password is right."""
        name = await self._name_of(request.user_id)
        user = await self._begin(name)
        if not await self._passwords.matches(user.password_hash if user else None, request.current_password):
            raise InvalidInput("the current password is wrong", field="current_password")
        assert user is not None
        return user

    async def _name_of(self, user_id: str) -> str:
        async with self._transaction(Context(actor=user_id)) as work:
            name = await store.find_name(work.tx, user_id)
        if name is None:
            raise NotFound(f"there is no user with the id {user_id!r}", field="user_id")
        return name


def _origin(address: str) -> str:
    """Where attempts from an address are counted: no name of a user has a space."""
    network = users.network_of(address)
    return key_digest(f"address {network}") if network else ""
