"""Roles, built in and made: kept by auth."""

from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import SLUG_PATTERN
from shared.permissions import Permission
from shared.rpc.grants import (
    ChangeRole,
    CreateRole,
    DeleteRole,
    Description,
    GetRole,
    ListRoles,
    RoleList,
    RoleView,
    SomePermissions,
)

ROUTES = Routes("roles")
RoleName = Annotated[str, Path(pattern=SLUG_PATTERN)]


class RoleChange(BaseModel):
    """What a role permits from now on."""

    model_config = ConfigDict(extra="forbid")
    permissions: SomePermissions
    description: Description = ""


@ROUTES.add("GET", "/roles", Permission.USERS_MANAGE)
async def list_roles(caller: CallerOf) -> RoleList:
    """The built-in roles, those of the platform (`project` is '*') and those of the project."""
    return await caller.ask(ListRoles())


@ROUTES.add("POST", "/roles", Permission.USERS_MANAGE, status_code=201)
async def create_role(body: CreateRole, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> RoleView:
    """Make a role of permissions that you have yourself, for the project or, with `platform`, for all projects."""
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("GET", "/roles/{name}", Permission.USERS_MANAGE)
async def show_role(name: RoleName, caller: CallerOf) -> RoleView:
    """What a role permits."""
    return await caller.ask(GetRole(name=name))


@ROUTES.add("PUT", "/roles/{name}", Permission.USERS_MANAGE)
async def change_role(name: RoleName, body: RoleChange, caller: CallerOf) -> RoleView:
    """Let a role permit this from now on; whoever has it notices within a second. Not a built-in one (409)."""
    return await caller.ask(ChangeRole(name=name, permissions=body.permissions, description=body.description))


@ROUTES.add("DELETE", "/roles/{name}", Permission.USERS_MANAGE, status_code=204, response_class=Response)
async def delete_role(name: RoleName, caller: CallerOf) -> None:
    """Forget a role; one that is granted stays (409 names who has it), and so do the built-in ones."""
    await caller.ask(DeleteRole(name=name))
