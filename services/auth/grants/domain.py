"""Roles, groups and grants: what may be granted by whom, and that somebody stays who may grant; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import Conflict, Forbidden, InvalidInput
from shared.grants import (
    EVERYWHERE,
    Condition,
    HeldGrant,
    RoleEntry,
    SubjectKind,
    built_in,
    is_bound_by_tags,
    known_permissions,
)
from shared.names import DEFAULT_PROJECT, listed
from shared.permissions import GRANTS, Permission, Role, granted
from shared.rpc.grants import GrantView, GroupView, RoleView

MOST_ROLES = 1000
MOST_GROUPS = 1000
MOST_MEMBERS = 1000
FOREVER = datetime.max.replace(tzinfo=UTC)
Rights = Mapping[Permission, datetime]


@dataclass(frozen=True)
class CustomRole:
    """A role as it is stored."""

    project: str
    name: str
    description: str
    permissions: tuple[str, ...]
    created_by: str
    created_at: datetime
    changed_at: datetime

    def entry(self) -> RoleEntry:
        return RoleEntry(name=self.name, project=self.project, permissions=self.permissions)

    def known(self) -> frozenset[Permission]:
        return known_permissions(self.permissions)

    def view(self) -> RoleView:
        return RoleView(**vars(self) | {"permissions": list(self.permissions)})


def built_in_views() -> list[RoleView]:
    return [
        RoleView(name=role.value, project=EVERYWHERE, permissions=ordered(GRANTS[role]), built_in=True) for role in Role
    ]


def ordered(permissions: Iterable[Permission]) -> list[str]:
    """Each once, in the order of the table of permissions."""
    given = set(permissions)
    return [permission.value for permission in Permission if permission in given]


def check_made(name: str) -> None:
    """Raises Conflict for a built-in role, which nobody makes, changes or deletes."""
    if built_in(name) is not None:
        raise Conflict(
            f"'{name}' is a built-in role: it cannot be made, changed or deleted; take another name", field="name"
        )


@dataclass(frozen=True)
class Group:
    """A group as it is stored, with its members' ids."""

    id: str
    project: str
    name: str
    created_by: str
    created_at: datetime
    members: tuple[str, ...] = ()

    def view(self) -> GroupView:
        return GroupView(**vars(self) | {"members": list(self.members)})


@dataclass(frozen=True)
class Grant:
    """A grant as it is stored, with its holder's name."""

    id: str
    project: str
    role: str
    subject_kind: SubjectKind
    subject_id: str
    ends_at: datetime | None
    condition: Condition | None
    created_by: str
    created_at: datetime
    subject_name: str = ""

    def held(self) -> HeldGrant:
        return HeldGrant(
            id=self.id, role=self.role, project=self.project, ends_at=self.ends_at, condition=self.condition
        )

    def view(self) -> GrantView:
        return GrantView(**vars(self))


@dataclass(frozen=True)
class Actor:
    """Who asks: a user or a key with the roles of its own project, and all its grants with what their roles permit."""

    project: str
    roles: tuple[Role, ...]
    grants: tuple[tuple[HeldGrant, frozenset[Permission]], ...] = ()


NOBODY = Actor("", ())


def rights(actor: Actor, scope: str, now: datetime) -> Rights:
    """What somebody may pass on in a project or everywhere, and until when: only what has no condition.

    Who may do something only with models of some tags lets nobody set tags either, as he cannot himself.
    """
    found: dict[Permission, datetime] = {}
    if actor.project == (DEFAULT_PROJECT if scope == EVERYWHERE else scope):
        found = dict.fromkeys(granted(actor.roles), FOREVER)
    counting = [(grant, may) for grant, may in actor.grants if grant.counts_in(scope) and grant.counts_at(now)]
    for grant, permissions in counting:
        for permission in grant.free(permissions):
            found[permission] = max(found.get(permission, now), grant.ends_at or FOREVER)
    if is_bound_by_tags(found.keys(), counting):
        found.pop(Permission.MODELS_WRITE, None)
    return found


def check_covers(held: Rights, wanted: Iterable[Permission], until: datetime | None = None) -> None:
    """Raises Forbidden for what somebody would pass on without having it himself, or for longer than he has it."""
    lacking = [permission.value for permission in ordered_set(wanted) if permission not in held]
    if lacking:
        raise Forbidden(f"nobody passes on more than he has, without a condition: you lack {listed(lacking)} here")
    shorter = [permission for permission in wanted if held[permission] < (until or FOREVER)]
    if shorter:
        end = min(held[permission] for permission in shorter)
        raise Forbidden(f"you have this only until {end.isoformat()}: let it end by then (ends_at)", field="ends_at")


def ordered_set(permissions: Iterable[Permission]) -> list[Permission]:
    given = set(permissions)
    return [permission for permission in Permission if permission in given]


def check_platform(held: Rights) -> None:
    """Raises Forbidden for who does not manage the users of the whole platform."""
    if Permission.USERS_MANAGE not in held:
        raise Forbidden(
            f"this is of the whole platform: it needs 'users:manage' in the project '{DEFAULT_PROJECT}' or everywhere"
        )


def check_end(ends_at: datetime | None, now: datetime) -> None:
    """Raises InvalidInput for an end that is past."""
    if ends_at is not None and ends_at <= now:
        raise InvalidInput("ends_at must lie in the future", field="ends_at")


def check_admins(before: frozenset[str], after: frozenset[str]) -> None:
    """Raises Conflict where a project, or the platform, had an administrator and has none any more.

    Both are projects that somebody administers, with '*' for all; who administers `default` administers the platform.
    """
    if EVERYWHERE in after:
        return
    platform = {EVERYWHERE, DEFAULT_PROJECT}
    lost = {project for project in before - after if project != EVERYWHERE}
    if before & platform and not after & platform:
        lost.add("the platform")
        lost.discard(DEFAULT_PROJECT)
    if lost:
        raise Conflict(
            f"this is the last administrator of {listed(sorted(lost))}: make somebody else one first, who is active,"
            " without a condition: 'aimass grants add admin --user ID'"
        )
