"""What a caller may do: the permissions of roles and of grants, put together once, and looked up by every request."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from shared.grants import EVERYWHERE, NO_TAGS, HeldGrant, built_in
from shared.permissions import Permission

FOREVER = float("inf")
RolePermissions = Callable[[str, str], frozenset[Permission]]
Tags = Callable[[str], frozenset[str]]


def no_tags(_: str) -> frozenset[str]:
    return NO_TAGS


class Held(NamedTuple):
    """A grant that counts, what its role permits now, and the tags of models if it is limited to some."""

    grant: HeldGrant
    permissions: frozenset[Permission]
    tags: Tags = no_tags

    def allows(self, permission: Permission, model: str, alias: str) -> bool:
        return permission in self.permissions and self.grant.allows(permission, model, alias, self.tags(model))


class Rights(NamedTuple):
    """What is `free` is permitted without looking further; `held` are asked for the rest. They count `until` a time."""

    free: frozenset[Permission]
    held: tuple[Held, ...] = ()
    until: float = FOREVER


@lru_cache(maxsize=8192)
def one_of(permissions: frozenset[Permission]) -> frozenset[Permission]:
    """One set for all who may do the same, so that the processor has it at hand."""
    return permissions


def rights_of(
    own: frozenset[Permission], grants: Iterable[HeldGrant], project: str, now: float, permissions: RolePermissions
) -> Rights:
    """Of somebody who works in a project: its own roles' permissions, and those of the grants that count there now."""
    moment = datetime.fromtimestamp(now, UTC)
    counting = [grant for grant in grants if grant.project in (project, EVERYWHERE) and grant.counts_at(moment)]
    held = tuple(Held(grant, permissions(grant.project, grant.role)) for grant in counting)
    free = own.union(*(each.grant.free(each.permissions) for each in held))
    ends = [grant.ends_at.timestamp() for grant in counting if grant.ends_at]
    return Rights(free, held, min(ends, default=FOREVER))


class RoleBook:
    """Custom roles by project and name; `edition` is another number after each change."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], frozenset[Permission]] = {}
        self.edition = 0

    def put(self, project: str, role: str, permissions: frozenset[Permission]) -> None:
        self._roles[project, role] = permissions
        self.edition += 1

    def remove(self, project: str, role: str) -> None:
        self._roles.pop((project, role), None)
        self.edition += 1

    def clear(self) -> None:
        self._roles.clear()
        self.edition += 1

    def permissions(self, project: str, role: str) -> frozenset[Permission]:
        """What a role permits that was granted in a project; nothing if it is not known."""
        if (fixed := built_in(role)) is not None:
            return fixed
        found = self._roles.get((project, role))
        return found if found is not None else self._roles.get((EVERYWHERE, role), frozenset())
