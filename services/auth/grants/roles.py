"""The requests about roles: load, decide, save, say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.auth import entries
from services.auth.grants import desk, domain, store
from services.auth.grants.desk import Work
from services.auth.grants.domain import CustomRole
from shared.errors import Conflict
from shared.events.rights import RoleChanged, RoleCreated, RoleDeleted
from shared.grants import EVERYWHERE
from shared.handlers import RpcHandler
from shared.names import listed
from shared.rpc import grants as rpc
from shared.rpc.base import Done, Request


async def list_roles(_: rpc.ListRoles, work: Work) -> rpc.RoleList:
    made = [role.view() for role in await store.roles(work.tx, work.project)]
    return rpc.RoleList(roles=domain.built_in_views() + made)


async def get_role(request: rpc.GetRole, work: Work) -> rpc.RoleView:
    fixed = next((view for view in domain.built_in_views() if view.name == request.name), None)
    return fixed or (await store.role(work.tx, work.project, request.name)).view()


async def create_role(request: rpc.CreateRole, work: Work) -> rpc.RoleView:
    domain.check_made(request.name)
    project, now = EVERYWHERE if request.platform else work.project, datetime.now(UTC)
    await store.lock_all(work.tx)
    await _check_may_make(work, project, request)
    permissions = tuple(domain.ordered(request.permissions))
    role = CustomRole(project, request.name, request.description, permissions, work.context.actor, now, now)
    await store.insert_role(work.tx, role)
    _publish(work, role)
    work.say(RoleCreated(**_said(role, work), permissions=role.permissions))
    return role.view()


async def change_role(request: rpc.ChangeRole, work: Work) -> rpc.RoleView:
    """Who has the role notices on the gateways: the entry of the role is enough for all."""
    domain.check_made(request.name)
    await store.lock_all(work.tx)
    role = await store.role(work.tx, work.project, request.name)
    await _check_may_make(work, role.project, request)
    permissions = tuple(domain.ordered(request.permissions))
    changed = replace(role, description=request.description, permissions=permissions, changed_at=datetime.now(UTC))
    await store.save_role(work.tx, changed)
    _publish(work, changed)
    work.say(RoleChanged(**_said(changed, work), permissions=permissions))
    return changed.view()


async def delete_role(request: rpc.DeleteRole, work: Work) -> Done:
    domain.check_made(request.name)
    await store.lock_all(work.tx)
    role = await store.role(work.tx, work.project, request.name)
    if role.project == EVERYWHERE:
        domain.check_platform(await desk.rights_here(work, EVERYWHERE))
    if found := await store.holders(work.tx, role):
        names = listed(f"{grant.subject_kind} {grant.subject_name or grant.subject_id}" for grant in found)
        raise Conflict(f"the role '{role.name}' is granted to {names}: revoke these grants first", field="name")
    await store.delete_role(work.tx, role)
    entries.remove_role(work, role.entry())
    desk.look_at_once(work)
    work.say(RoleDeleted(**_said(role, work)))
    return Done()


async def _check_may_make(work: Work, project: str, request: rpc.CreateRole | rpc.ChangeRole) -> None:
    """Who makes a role could have it: it permits no more than its maker may do."""
    held = await desk.rights_here(work, project)
    if project == EVERYWHERE:
        domain.check_platform(held)
    domain.check_covers(held, request.permissions)


def _publish(work: Work, role: CustomRole) -> None:
    entries.put_role(work, role.entry())
    desk.look_at_once(work)


def _said(role: CustomRole, work: Work) -> dict[str, Any]:
    return {"name": role.name, "scope": role.project, "actor": work.context.actor}


ROLE_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.ListRoles: list_roles,
    rpc.GetRole: get_role,
    rpc.CreateRole: create_role,
    rpc.ChangeRole: change_role,
    rpc.DeleteRole: delete_role,
}
