"""The requests about groups: load, decide, save, say; who comes in has what is granted to the group."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.auth.grants import desk, store
from services.auth.grants.desk import Work
from services.auth.grants.domain import MOST_MEMBERS, Group
from shared.errors import Conflict, NotFound
from shared.events.rights import GroupCreated, GroupDeleted, GroupMemberAdded, GroupMemberRemoved
from shared.handlers import RpcHandler
from shared.names import new_id
from shared.rpc import grants as rpc
from shared.rpc.base import Done, Request


async def list_groups(_: rpc.ListGroups, work: Work) -> rpc.GroupList:
    return rpc.GroupList(groups=[group.view() for group in await store.groups(work.tx, work.project)])


async def create_group(request: rpc.CreateGroup, work: Work) -> rpc.GroupView:
    await store.lock_all(work.tx)
    group = Group(new_id(), work.project, request.name, work.context.actor, datetime.now(UTC))
    await store.insert_group(work.tx, group)
    work.say(GroupCreated(**_said(group, work)))
    return group.view()


async def delete_group(request: rpc.DeleteGroup, work: Work) -> Done:
    async with desk.keeping_admins(work.tx):
        group = await store.group(work.tx, work.project, request.name)
        await store.delete_group(work.tx, group)
    await desk.tell(work, "user", group.members)
    work.say(GroupDeleted(**_said(group, work)))
    return Done()


async def add_member(request: rpc.AddMember, work: Work) -> rpc.GroupView:
    """Nobody lets others have by a group what he could not grant them."""
    await store.lock_all(work.tx)
    group = await store.group(work.tx, work.project, request.name)
    if not await store.can_be_member(work.tx, group, request.user_id):
        raise NotFound(f"there is no user or service account with the id '{request.user_id}'", field="user_id")
    if len(group.members) >= MOST_MEMBERS:
        raise Conflict(f"a group has at most {MOST_MEMBERS} members: make another group", field="user_id")
    await desk.check_may_pass_on(work, await store.held_by_group(work.tx, group.id))
    if await store.add_member(work.tx, group, request.user_id):
        await desk.tell(work, "user", [request.user_id])
        work.say(GroupMemberAdded(**_said(group, work), user_id=request.user_id))
    return replace(group, members=tuple(sorted({*group.members, request.user_id}))).view()


async def remove_member(request: rpc.RemoveMember, work: Work) -> rpc.GroupView:
    async with desk.keeping_admins(work.tx):
        group = await store.group(work.tx, work.project, request.name)
        if not await store.remove_member(work.tx, group, request.user_id):
            raise NotFound(f"the group '{group.name}' has no member with the id '{request.user_id}'", field="user_id")
    await desk.tell(work, "user", [request.user_id])
    work.say(GroupMemberRemoved(**_said(group, work), user_id=request.user_id))
    return replace(group, members=tuple(each for each in group.members if each != request.user_id)).view()


def _said(group: Group, work: Work) -> dict[str, Any]:
    return {"group_id": group.id, "name": group.name, "actor": work.context.actor}


GROUP_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.ListGroups: list_groups,
    rpc.CreateGroup: create_group,
    rpc.DeleteGroup: delete_group,
    rpc.AddMember: add_member,
    rpc.RemoveMember: remove_member,
}
