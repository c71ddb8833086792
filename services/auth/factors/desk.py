"""Looking at codes: the secret of a factor is opened for as long as that takes."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from services.auth.factors import domain, store
from services.auth.factors.domain import WRONG_CODE, Factor
from services.auth.grants import store as grants
from services.auth.users import User
from shared.db import Connection
from shared.errors import SecondFactorNeeded, Unauthenticated
from shared.events.identity import RecoveryCodeUsed
from shared.permissions import Role
from shared.sealing import KeyFile
from shared.work import Work


class FactorDesk:
    """Knows whose factor is asked for; `required` are the roles that nobody has without one."""

    def __init__(self, keys: KeyFile, required: Collection[Role]) -> None:
        self._keys = keys
        self._required = frozenset(required)

    def draft(self, user_id: str) -> tuple[Factor, str]:
        """A factor that does not count yet, and its secret."""
        secret = domain.new_secret()
        return Factor(user_id, self._keys.sealer().seal(secret.encode(), _context(user_id))), secret

    async def is_missing(self, tx: Connection, user: User) -> bool:
        """Whether this user must have a factor, and has none."""
        if not self._required:
            return False
        held = {grant.role for grant in await grants.held(tx, "user", user.id)}
        return not self._required.isdisjoint({*user.roles, *held}) and not await store.has(tx, user.id)

    async def check(self, work: Work[Any], user: User, code: str) -> None:
        """Takes a code of a user who has a factor; with the transaction it counts no more.

        Raises SecondFactorNeeded where none was given, and Unauthenticated for a wrong one.
        """
        factor = await store.lock(work.tx, user.id)
        if factor is None or factor.confirmed_at is None:
            return
        if not code:
            raise SecondFactorNeeded
        used = self.accept(factor, code)
        if used is None:
            raise Unauthenticated(WRONG_CODE)
        await store.save(work.tx, used)
        if len(used.recovery) < len(factor.recovery):
            about = {"user_id": user.id, "name": user.name, "actor": user.id}
            work.say(RecoveryCodeUsed(**about, codes_left=len(used.recovery)))

    def accept(self, factor: Factor, code: str) -> Factor | None:
        secret = self._keys.sealer().open(factor.sealed, _context(factor.user_id)).decode()
        return domain.accept(factor, secret, code, datetime.now(UTC))


def _context(user_id: str) -> str:
    """What a secret is sealed for; the same in SQL, in `store.SECRETS`."""
    return f"totp/{user_id}"
