"""Groups of users and service accounts: kept by auth."""

from typing import Annotated

from fastapi import Path, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from services.gateway.routes.users import UserId
from shared.names import SLUG_PATTERN
from shared.permissions import Permission
from shared.rpc.grants import AddMember, CreateGroup, DeleteGroup, GroupList, GroupView, ListGroups, RemoveMember

ROUTES = Routes("groups")
GroupName = Annotated[str, Path(pattern=SLUG_PATTERN)]


@ROUTES.add("GET", "/groups", Permission.USERS_MANAGE)
async def list_groups(caller: CallerOf) -> GroupList:
    """The groups of the project with their members."""
    return await caller.ask(ListGroups())


@ROUTES.add("POST", "/groups", Permission.USERS_MANAGE, status_code=201)
async def create_group(body: CreateGroup, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> GroupView:
    """Make a group without members; what is granted to it, each member has."""
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("DELETE", "/groups/{group}", Permission.USERS_MANAGE, status_code=204, response_class=Response)
async def delete_group(group: GroupName, caller: CallerOf) -> None:
    """Forget a group with what was granted to it."""
    await caller.ask(DeleteGroup(name=group))


@ROUTES.add("PUT", "/groups/{group}/members/{user_id}", Permission.USERS_MANAGE)
async def add_member(group: GroupName, user_id: UserId, caller: CallerOf) -> GroupView:
    """Let a user or a service account, by id, have what is granted to the group, if you could grant that."""
    return await caller.ask(AddMember(name=group, user_id=user_id))


@ROUTES.add("DELETE", "/groups/{group}/members/{user_id}", Permission.USERS_MANAGE)
async def remove_member(group: GroupName, user_id: UserId, caller: CallerOf) -> GroupView:
    """Let a user or a service account have no more what is granted to the group."""
    return await caller.ask(RemoveMember(name=group, user_id=user_id))
