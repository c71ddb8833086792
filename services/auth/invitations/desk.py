"""Accepting an invitation: no transaction is open while the password is hashed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from services.auth import entries, users
from services.auth import store as auth_store
from services.auth.bootstrap import Transaction
from services.auth.invitations import store
from services.auth.invitations.domain import Invitation
from services.auth.passwords import Passwords
from shared.context import Context
from shared.credentials import key_digest
from shared.events.identity import InvitationAccepted, UserCreated
from shared.rpc.auth import UserView
from shared.rpc.invitations import AcceptInvitation


class InvitationDesk:
    """Makes users of people who were invited."""

    def __init__(
        self, transaction: Transaction, announce: Callable[[list[str]], Awaitable[None]], passwords: Passwords
    ) -> None:
        self._transaction = transaction
        self._announce = announce
        self._passwords = passwords

    async def accept(self, request: AcceptInvitation) -> UserView:
        """Answered when every gateway can know the user; nothing is hashed for a token that does not count."""
        found = await self._find(key_digest(request.token))
        await asyncio.to_thread(users.check_password, request.new_password, found.name)
        password_hash = await self._passwords.hash(request.new_password)
        now = datetime.now(UTC)
        user = found.user(password_hash, now)
        async with self._transaction(Context(project=found.project, actor=user.id)) as work:
            invitation = await store.lock_token(work.tx, found.digest)
            invitation.check(now)
            await store.save(work.tx, replace(invitation, accepted_at=now))
            await auth_store.insert_user(work.tx, user)
            await entries.put_user(work, user)
            about = {"name": user.name, "actor": user.id}
            work.say(InvitationAccepted(invitation_id=invitation.id, user_id=user.id, **about))
            work.say(UserCreated(user_id=user.id, roles=user.roles, **about))
        await self._announce(work.written)
        return user.view()

    async def _find(self, digest: str) -> Invitation:
        async with self._transaction(Context(actor="auth")) as work:
            invitation = await store.lock_token(work.tx, digest)
        invitation.check(datetime.now(UTC))
        return invitation
