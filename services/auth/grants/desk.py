"""What changes of rights have in common: who asks, that somebody stays who may grant, and that gateways notice."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from services.auth import entries
from services.auth import store as auth_store
from services.auth.accounts import store as account_store
from services.auth.accounts.domain import Account
from services.auth.domain import ApiKey
from services.auth.grants import domain, store
from services.auth.grants.domain import NOBODY, Actor, Rights
from services.auth.keys import store as keys
from services.auth.users import User
from shared.db import Connection
from shared.grants import EVERYWHERE, HeldGrant, SubjectKind, built_in
from shared.permissions import Permission, Role, granted
from shared.streams import CHANGED_SUBJECT
from shared.tokens import user_name
from shared.work import Work as AnyWork


class Broadcasts(Protocol):
    """Parts that tell every gateway at once."""

    @property
    def broadcast(self) -> Callable[[str, bytes], Awaitable[None]]: ...


Work = AnyWork[Broadcasts]


@asynccontextmanager
async def keeping_admins(tx: Connection) -> AsyncIterator[None]:
    """Within, rights may go; raises Conflict afterwards where nobody is left who may give them back."""
    await store.lock_all(tx)
    before = await store.administered(tx)
    yield
    domain.check_admins(before, await store.administered(tx))


async def rights_here(work: AnyWork[Any], scope: str = "") -> Rights:
    """What the caller may pass on in the project, or in another scope."""
    return domain.rights(await _actor(work), scope or work.project, datetime.now(UTC))


async def check_may_give(work: AnyWork[Any], roles: Iterable[Role]) -> None:
    """Raises Forbidden where roles permit what the caller may not."""
    domain.check_covers(await rights_here(work), granted(tuple(roles)))


async def check_may_stand_for(work: AnyWork[Any], kind: SubjectKind, whom: User | Account | ApiKey) -> None:
    """Raises Forbidden where somebody may do what the caller may not: who has his password or secret has all that."""
    await check_may_give(work, whom.roles)
    await check_may_pass_on(work, await store.held(work.tx, kind, whom.id))


async def check_may_pass_on(work: AnyWork[Any], grants: Iterable[HeldGrant]) -> None:
    """Raises Forbidden where grants permit what the caller may not."""
    actor, now = await _actor(work), datetime.now(UTC)
    for grant, permissions in await _with_permissions(work.tx, grants):
        domain.check_covers(domain.rights(actor, grant.project, now), permissions, grant.ends_at)


async def _actor(work: AnyWork[Any]) -> Actor:
    found = await store.actor(work.tx, work.context.actor)
    if found is None:
        return NOBODY
    held = await store.held(work.tx, found["kind"], work.context.actor)
    roles = tuple(Role(role) for role in found["roles"])
    return Actor(found["project"], roles, await _with_permissions(work.tx, held))


async def _with_permissions(
    tx: Connection, grants: Iterable[HeldGrant]
) -> tuple[tuple[HeldGrant, frozenset[Permission]], ...]:
    grants = list(grants)
    made = {(role.project, role.name): role.known() for role in await store.named_roles(tx, (g.role for g in grants))}
    return tuple((grant, _permissions(grant, made)) for grant in grants)


def _permissions(grant: HeldGrant, made: dict[tuple[str, str], frozenset[Permission]]) -> frozenset[Permission]:
    if (fixed := built_in(grant.role)) is not None:
        return fixed
    found = made.get((grant.project, grant.role))
    return found if found is not None else made.get((EVERYWHERE, grant.role), frozenset())


async def tell(work: Work, kind: SubjectKind, ids: Iterable[str]) -> None:
    """Put entries anew, with what their holders have now; gateways look at once. Users stand with service accounts."""
    if kind == "key":
        for key in await auth_store.lock_active_ids(work.tx, sorted(ids)):
            await entries.put_api_key(work, key)
        for rotated in await keys.lock_counting(work.tx, sorted(ids)):
            await entries.put_api_key(work, rotated)
    else:
        names = sorted(map(user_name, ids))
        for user in await auth_store.lock_enabled(work.tx, names):
            await entries.put_user(work, user)
        for account in await account_store.lock_named(work.tx, names):
            await entries.put_account(work, account)
    look_at_once(work)


def look_at_once(work: Work) -> None:
    work.then(lambda: work.parts.broadcast(CHANGED_SUBJECT, b""))
