"""Why somebody may or may not do something: the same sets and grants that `access.authorise` looks at, told."""

from collections.abc import Iterator
from typing import NamedTuple

from services.gateway.access import refusal
from services.gateway.credentials import Principal
from services.gateway.rights import Held
from shared.errors import Forbidden
from shared.grants import HeldGrant
from shared.permissions import GRANTS, Permission


class Reason(NamedTuple):
    """A role of one's own, or one that was granted."""

    role: str
    held: Held | None = None

    @property
    def grant(self) -> HeldGrant | None:
        return self.held.grant if self.held else None

    def __str__(self) -> str:
        if (grant := self.grant) is None:
            return f"the role '{self.role}' permits it"
        limits = f", for {grant.condition}" if grant.condition else ""
        end = f", until {grant.ends_at.isoformat()}" if grant.ends_at else ""
        return f"the grant {grant.id} of the role '{self.role}' permits it{limits}{end}"


def reasons_of(principal: Principal, permission: Permission) -> Iterator[Reason]:
    """Where somebody has a permission from, maybe under a condition; a key has none beyond its scopes."""
    if principal.rules is not None and not principal.rules.within(frozenset([permission])):
        return
    yield from (Reason(role.value) for role in principal.roles if permission in GRANTS[role])
    yield from (Reason(held.grant.role, held) for held in principal.held if permission in held.permissions)


def explain(principal: Principal, permission: Permission, model: str, alias: str) -> tuple[bool, str, Reason | None]:
    """Whether it is allowed, why, and by what."""
    if principal.rules is not None:
        try:
            principal.rules.check(permission, model)
        except Forbidden as error:
            return False, error.message, None
    for reason in reasons_of(principal, permission):
        if reason.held is None or reason.held.allows(permission, model, alias):
            return True, str(reason), reason
    return False, refusal(principal, permission, model, alias), None
