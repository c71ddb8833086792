"""All SQL of roles, groups and grants."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from services.auth.grants.domain import MOST_GROUPS, MOST_ROLES, CustomRole, Grant, Group
from shared.db import Connection
from shared.errors import Conflict, NotFound
from shared.grants import EVERYWHERE, Condition, HeldGrant, SubjectKind
from shared.rpc.grants import MOST_GRANTS

# One change of rights at a time, so that nobody is the last administrator twice, and nothing is granted that just went.
LOCK_ALL = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || ' grants'))"

ROLE = "project, name, description, permissions, created_by, created_at, changed_at"
# How many roles a project has.
COUNT_ROLES = "SELECT count(*) FROM custom_roles WHERE project = $1"
# Where there is a role of this name that is, or would be, known in this project.
NAMESAKES = "SELECT project FROM custom_roles WHERE name = $2 AND ($1 = '*' OR project IN ($1, '*')) LIMIT 1"
# Keep a new role.
INSERT_ROLE = f"INSERT INTO custom_roles ({ROLE}) VALUES ($1, $2, $3, $4, $5, $6, $7)"
# The roles of a project and of the platform.
ROLES = f"SELECT {ROLE} FROM custom_roles WHERE project IN ($1, '*') ORDER BY name"
# Roles that are named by grants, whatever project they are of.
NAMED_ROLES = f"SELECT {ROLE} FROM custom_roles WHERE name = ANY($1)"
# One role of a project or of the platform; the names of both are different.
ROLE_NAMED = f"SELECT {ROLE} FROM custom_roles WHERE project IN ($1, '*') AND name = $2"
# Keep what changed of one.
SAVE_ROLE = (
    "UPDATE custom_roles SET description = $3, permissions = $4, changed_at = $5 WHERE project = $1 AND name = $2"
)
# Forget one.
DELETE_ROLE = "DELETE FROM custom_roles WHERE project = $1 AND name = $2"
# Every role, for the bucket.
ALL_ROLES = f"SELECT {ROLE} FROM custom_roles ORDER BY project, name"

GROUP = "id, project, name, created_by, created_at"
WITH_MEMBERS = f"""
SELECT {GROUP}, ARRAY(
    SELECT member_id FROM members_of_groups WHERE group_id = user_groups.id ORDER BY member_id
) AS members
FROM user_groups
"""
# How many groups a project has.
COUNT_GROUPS = "SELECT count(*) FROM user_groups WHERE project = $1"
# Keep a new group.
INSERT_GROUP = f"INSERT INTO user_groups ({GROUP}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
# The groups of a project.
GROUPS = f"{WITH_MEMBERS} WHERE project = $1 ORDER BY name"
# One group of a project.
GROUP_NAMED = f"{WITH_MEMBERS} WHERE project = $1 AND name = $2"
# One group by its id.
GROUP_OF = f"{WITH_MEMBERS} WHERE project = $1 AND id = $2"
# Forget a group and its members.
DELETE_GROUP = "DELETE FROM user_groups WHERE id = $1"
# Forget what was granted to somebody who is no more.
DELETE_GRANTS_OF = "DELETE FROM role_grants WHERE subject_kind = $1 AND subject_id = $2"
# Add a user, and a service account of the group's project.
ADD_USER = """
INSERT INTO group_members (group_id, user_id) SELECT $1, id FROM users WHERE id = $2 ON CONFLICT DO NOTHING
"""
ADD_ACCOUNT = """
INSERT INTO group_accounts (group_id, account_id) SELECT $1, id FROM service_accounts WHERE id = $2 AND project = $3
ON CONFLICT DO NOTHING
"""
# Whether somebody can be a member: a user of any project, or a service account of the group's.
CAN_BE_MEMBER = """
SELECT EXISTS (SELECT FROM users WHERE id = $1)
    OR EXISTS (SELECT FROM service_accounts WHERE id = $1 AND project = $2)
"""
# Remove a user, and a service account.
REMOVE_USER = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2"
REMOVE_ACCOUNT = "DELETE FROM group_accounts WHERE group_id = $1 AND account_id = $2"

GRANT = "id, project, role, subject_kind, subject_id, ends_at, condition, created_by, created_at"
NAMED = f"""
SELECT {GRANT}, COALESCE(CASE subject_kind
    WHEN 'user' THEN (SELECT name FROM users WHERE id = subject_id)
    WHEN 'group' THEN (SELECT name FROM user_groups WHERE id = subject_id)
    WHEN 'account' THEN (SELECT name FROM service_accounts WHERE id = subject_id)
    ELSE (SELECT name FROM api_keys WHERE id = subject_id) END, '') AS subject_name
FROM role_grants
"""
# Keep a new grant.
INSERT_GRANT = f"INSERT INTO role_grants ({GRANT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
# How many grants somebody has that have not ended.
COUNT_GRANTS = """
SELECT count(*) FROM role_grants WHERE subject_kind = $1 AND subject_id = $2 AND (ends_at IS NULL OR ends_at > now())
"""
# The grants in a project and everywhere that have not ended, newest first.
LIST_GRANTS = f"""
{NAMED} WHERE project IN ($1, '*') AND ($2::text IS NULL OR role = $2) AND ($3::text IS NULL OR subject_id = $3)
AND (ends_at IS NULL OR ends_at > now()) ORDER BY created_at DESC, id DESC LIMIT 10000
"""
# The roles that users, service accounts and keys of a project have of themselves.
IMPLICIT = """
SELECT unnest(roles) AS role, project, 'user' AS subject_kind, id AS subject_id, name AS subject_name, NULL AS ends_at,
    created_by, created_at
FROM users WHERE project = $1 AND disabled_at IS NULL AND ($2::text IS NULL OR id = $2)
UNION ALL SELECT unnest(roles), project, 'account', id, name, NULL::timestamptz, created_by, created_at
FROM service_accounts WHERE project = $1 AND ($2::text IS NULL OR id = $2)
UNION ALL SELECT unnest(roles), project, 'key', id, name, expires_at, created_by, created_at
FROM api_keys WHERE project = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    AND ($2::text IS NULL OR id = $2)
LIMIT 10000
"""
# One grant in a project or everywhere.
FIND_GRANT = f"{NAMED} WHERE project IN ($1, '*') AND id = $2"
# Forget one.
DELETE_GRANT = "DELETE FROM role_grants WHERE id = $1"
# Who has a role: grants that have not ended, of the role's project or, for one of the platform, of all.
HOLDERS = f"""
{NAMED} WHERE role = $2 AND ($1 = '*' OR project = $1) AND (ends_at IS NULL OR ends_at > now())
ORDER BY created_at LIMIT 100
"""
# What somebody holds, also by groups, as long as it counts.
HELD = """
SELECT id, role, project, ends_at, condition FROM role_grants
WHERE (ends_at IS NULL OR ends_at > now()) AND (
    (subject_kind = $1 AND subject_id = $2)
    OR ($1 <> 'key' AND subject_kind = 'group'
        AND subject_id IN (SELECT group_id FROM members_of_groups WHERE member_id = $2))
)
ORDER BY id
"""
# What a group holds, as long as it counts.
HELD_BY_GROUP = """
SELECT id, role, project, ends_at, condition FROM role_grants
WHERE subject_kind = 'group' AND subject_id = $1 AND (ends_at IS NULL OR ends_at > now())
"""
# The project and the roles of a user, a service account or a key that counts.
ACTOR = """
SELECT 'user' AS kind, project, roles FROM users WHERE id = $1 AND disabled_at IS NULL
UNION ALL SELECT 'account', project, roles FROM service_accounts WHERE id = $1
UNION ALL SELECT 'key', project, roles FROM api_keys
WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
# Who somebody is, whether or not he counts: a user, a service account, or a key with its name in the bucket.
SUBJECT = """
SELECT 'user' AS kind, project, name FROM users WHERE id = $1
UNION ALL SELECT 'account', project, name FROM service_accounts WHERE id = $1
UNION ALL SELECT 'key', project, digest FROM api_keys WHERE id = $1
"""
# The members of a group.
MEMBERS = "SELECT member_id FROM members_of_groups WHERE group_id = $1"
# Projects that somebody administers, with '*' for all of them; no software counts that only comes with a token.
ADMINISTERED = """
SELECT project FROM users WHERE 'admin' = ANY(roles) AND disabled_at IS NULL
UNION SELECT project FROM api_keys
    WHERE 'admin' = ANY(roles) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
UNION SELECT project FROM role_grants
    WHERE role = 'admin' AND condition IS NULL AND (ends_at IS NULL OR ends_at > now()) AND CASE subject_kind
    WHEN 'user' THEN EXISTS (SELECT FROM users WHERE id = subject_id AND disabled_at IS NULL)
    WHEN 'account' THEN false
    WHEN 'key' THEN EXISTS (SELECT FROM api_keys WHERE id = subject_id AND revoked_at IS NULL
                            AND (expires_at IS NULL OR expires_at > now()))
    ELSE EXISTS (SELECT FROM group_members JOIN users ON users.id = user_id
                 WHERE group_id = subject_id AND disabled_at IS NULL) END
"""


async def lock_all(tx: Connection) -> None:
    await tx.execute(LOCK_ALL)


def _role(row: asyncpg.Record) -> CustomRole:
    fields: dict[str, Any] = dict(row)
    return CustomRole(**fields | {"permissions": tuple(row["permissions"])})


async def insert_role(tx: Connection, role: CustomRole) -> None:
    """Raises Conflict for a name that is taken, and for one role too many."""
    if (project := await tx.fetchval(NAMESAKES, role.project, role.name)) is not None:
        where = "the platform" if project == EVERYWHERE else f"the project '{project}'"
        raise Conflict(f"{where} has a role named '{role.name}' already: take another name", field="name")
    if await tx.fetchval(COUNT_ROLES, role.project) >= MOST_ROLES:
        raise Conflict(f"there are at most {MOST_ROLES} roles: delete one first", field="name")
    facts = (role.created_by, role.created_at, role.changed_at)
    await tx.execute(INSERT_ROLE, role.project, role.name, role.description, list(role.permissions), *facts)


async def roles(tx: Connection, project: str) -> list[CustomRole]:
    return [_role(row) for row in await tx.fetch(ROLES, project)]


async def named_roles(tx: Connection, names: Iterable[str]) -> list[CustomRole]:
    return [_role(row) for row in await tx.fetch(NAMED_ROLES, sorted(set(names)))]


async def all_roles(tx: Connection) -> list[CustomRole]:
    return [_role(row) for row in await tx.fetch(ALL_ROLES)]


async def role(tx: Connection, project: str, name: str) -> CustomRole:
    row = await tx.fetchrow(ROLE_NAMED, project, name)
    if row is None:
        raise NotFound(f"there is no role named '{name}'", field="role")
    return _role(row)


async def save_role(tx: Connection, role: CustomRole) -> None:
    await tx.execute(SAVE_ROLE, role.project, role.name, role.description, list(role.permissions), role.changed_at)


async def delete_role(tx: Connection, role: CustomRole) -> None:
    await tx.execute(DELETE_ROLE, role.project, role.name)


def _group(row: asyncpg.Record) -> Group:
    fields: dict[str, Any] = dict(row)
    return Group(**fields | {"members": tuple(row["members"])})


async def insert_group(tx: Connection, group: Group) -> None:
    """Raises Conflict for a name that is taken, and for one group too many."""
    if await tx.fetchval(COUNT_GROUPS, group.project) >= MOST_GROUPS:
        raise Conflict(f"a project has at most {MOST_GROUPS} groups: delete one first", field="name")
    facts = (group.id, group.project, group.name, group.created_by, group.created_at)
    if await tx.execute(INSERT_GROUP, *facts) == "INSERT 0 0":
        raise Conflict(f"there is a group named '{group.name}' already", field="name")


async def groups(tx: Connection, project: str) -> list[Group]:
    return [_group(row) for row in await tx.fetch(GROUPS, project)]


async def group(tx: Connection, project: str, name: str) -> Group:
    row = await tx.fetchrow(GROUP_NAMED, project, name)
    if row is None:
        raise NotFound(f"there is no group named '{name}'", field="name")
    return _group(row)


async def group_of(tx: Connection, project: str, group_id: str) -> Group:
    row = await tx.fetchrow(GROUP_OF, project, group_id)
    if row is None:
        raise NotFound(f"there is no group with the id '{group_id}'", field="subject_id")
    return _group(row)


async def delete_group(tx: Connection, group: Group) -> None:
    await delete_grants_of(tx, "group", group.id)
    await tx.execute(DELETE_GROUP, group.id)


async def delete_grants_of(tx: Connection, kind: SubjectKind, subject_id: str) -> None:
    await tx.execute(DELETE_GRANTS_OF, kind, subject_id)


async def can_be_member(tx: Connection, group: Group, member_id: str) -> bool:
    return bool(await tx.fetchval(CAN_BE_MEMBER, member_id, group.project))


async def add_member(tx: Connection, group: Group, member_id: str) -> bool:
    """Whether he was none before."""
    as_user = await tx.execute(ADD_USER, group.id, member_id)
    as_account = await tx.execute(ADD_ACCOUNT, group.id, member_id, group.project)
    return {as_user, as_account} != {"INSERT 0 0"}


async def remove_member(tx: Connection, group: Group, member_id: str) -> bool:
    """Whether he was one before."""
    removed = {await tx.execute(statement, group.id, member_id) for statement in (REMOVE_USER, REMOVE_ACCOUNT)}
    return removed != {"DELETE 0"}


def _condition(row: asyncpg.Record) -> Condition | None:
    return None if row["condition"] is None else Condition.model_validate(row["condition"])


def _grant(row: asyncpg.Record) -> Grant:
    fields: dict[str, Any] = dict(row)
    return Grant(**fields | {"condition": _condition(row)})


def _held(row: asyncpg.Record) -> HeldGrant:
    fields: dict[str, Any] = dict(row)
    return HeldGrant(**fields | {"condition": _condition(row)})


async def insert_grant(tx: Connection, grant: Grant) -> None:
    """Raises Conflict for one too many."""
    if await tx.fetchval(COUNT_GRANTS, grant.subject_kind, grant.subject_id) >= MOST_GRANTS:
        raise Conflict(
            f"somebody has at most {MOST_GRANTS} grants: revoke one first, or make a role", field="subject_id"
        )
    condition = grant.condition.model_dump(mode="json") if grant.condition else None
    whose = (grant.subject_kind, grant.subject_id)
    facts = (grant.ends_at, condition, grant.created_by, grant.created_at)
    await tx.execute(INSERT_GRANT, grant.id, grant.project, grant.role, *whose, *facts)


async def list_grants(tx: Connection, project: str, role: str | None, subject_id: str | None) -> list[Grant]:
    return [_grant(row) for row in await tx.fetch(LIST_GRANTS, project, role, subject_id)]


async def implicit(tx: Connection, project: str, subject_id: str | None) -> Sequence[dict[str, Any]]:
    return [dict(row) for row in await tx.fetch(IMPLICIT, project, subject_id)]


async def grant(tx: Connection, project: str, grant_id: str) -> Grant:
    row = await tx.fetchrow(FIND_GRANT, project, grant_id)
    if row is None:
        raise NotFound(f"there is no grant with the id '{grant_id}'", field="grant_id")
    return _grant(row)


async def delete_grant(tx: Connection, grant: Grant) -> None:
    await tx.execute(DELETE_GRANT, grant.id)


async def holders(tx: Connection, role: CustomRole) -> list[Grant]:
    return [_grant(row) for row in await tx.fetch(HOLDERS, role.project, role.name)]


async def held(tx: Connection, kind: str, subject_id: str) -> tuple[HeldGrant, ...]:
    return tuple(_held(row) for row in await tx.fetch(HELD, kind, subject_id))


async def held_by_group(tx: Connection, group_id: str) -> tuple[HeldGrant, ...]:
    return tuple(_held(row) for row in await tx.fetch(HELD_BY_GROUP, group_id))


async def actor(tx: Connection, actor_id: str) -> asyncpg.Record | None:
    return await tx.fetchrow(ACTOR, actor_id)


async def subject(tx: Connection, subject_id: str) -> asyncpg.Record | None:
    return await tx.fetchrow(SUBJECT, subject_id)


async def members(tx: Connection, group_id: str) -> list[str]:
    return [row["member_id"] for row in await tx.fetch(MEMBERS, group_id)]


async def administered(tx: Connection) -> frozenset[str]:
    return frozenset(row["project"] for row in await tx.fetch(ADMINISTERED))
