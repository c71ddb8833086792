"""Logging in and changing the own password: attempts are counted in transactions of their own, before the hashing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from services.auth import entries, store, tokens, users
from services.auth.bootstrap import Transaction
from services.auth.grants import store as grants
from services.auth.keyring import Keyring
from services.auth.passwords import Passwords
from services.auth.projects import store as projects
from services.auth.projects.domain import may_enter
from services.auth.users import User
from shared.context import Context
from shared.credentials import key_digest
from shared.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from shared.events.identity import PasswordChanged
from shared.rpc.auth import ChangePassword, LoggedIn, Login
from shared.rpc.base import Done

WRONG = "name or password is wrong"


class Doorman:
    """Checks names and passwords; no transaction is open while a password is hashed."""

    def __init__(
        self,
        transaction: Transaction,
        published: Callable[[list[str]], Awaitable[None]],
        passwords: Passwords,
        keyring: Keyring,
        token_seconds: int,
    ) -> None:
        self._transaction = transaction
        self._published = published
        self._passwords = passwords
        self._keyring = keyring
        self._token_seconds = token_seconds

    async def log_in(self, request: Login) -> LoggedIn:
        """A token; a wrong password, an unknown name and a disabled user are the same 401 at the same cost.

        Raises Forbidden, to who knows the password alone, for a project that is not the user's, or is archived.
        """
        user = await self._begin(request.name)
        if not await self._passwords.matches(user.password_hash if user else None, request.password):
            raise Unauthenticated(WRONG)
        assert user is not None
        return await self._admit(user, request.project or user.project)

    async def _begin(self, name: str) -> User | None:
        """Count the attempt, and find who it may be."""
        digest = key_digest(name)
        async with self._transaction(Context(actor="auth")) as work:
            attempts = await store.lock_attempts(work.tx, digest)
            counted = users.begin_attempt(attempts, datetime.now(UTC))
            await store.save_attempts(work.tx, digest, counted)
            return await store.find_user(work.tx, name)

    async def _admit(self, user: User, project: str) -> LoggedIn:
        """The user as now, who may have been let out or got another password meanwhile."""
        async with self._transaction(Context(actor=user.id)) as work:
            current = await store.lock_user(work.tx, user.project, user.id)
            if current.disabled_at or current.epoch != user.epoch:
                raise Unauthenticated(WRONG)
            await store.forget_attempts(work.tx, key_digest(user.name))
            held = await grants.held(work.tx, "user", user.id)
            may = may_enter(current, project, held, datetime.now(UTC)) and await projects.is_open(work.tx, project)
            if not may:
                raise Forbidden(f"this user may not enter the project {project!r}: it is another one, or archived")
            keys = await store.signing_keys(work.tx)
        now = datetime.now(UTC)
        private = self._keyring.private(tokens.choose(keys, self._keyring.kids, now).kid)
        token = await asyncio.to_thread(tokens.issue, current, private, now, self._token_seconds, project)
        return LoggedIn(access_token=token, expires_in=self._token_seconds)

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
        await self._published(work.written)
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
