"""Grants of roles to users, groups, service accounts and API keys: kept by auth."""

from typing import Annotated

from fastapi import Path, Query

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.grants import AddGrant, GrantList, GrantView, ListGrants, RevokeGrant

ROUTES = Routes("grants")
GrantId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
Holder = Annotated[
    str | None, Query(pattern=r"^[0-9a-f-]{36}$", description="a user, a group, a service account or an API key by id")
]


@ROUTES.add("GET", "/grants", Permission.USERS_MANAGE)
async def list_grants(
    caller: CallerOf,
    role: Slug | None = None,
    subject_id: Holder = None,
    implicit: Annotated[
        bool, Query(description="also the roles that users, service accounts and keys have of themselves")
    ] = True,
) -> GrantList:
    """Who has which role in the project, and everywhere ('*'), until when and under which condition, newest first.

    The roles that users, service accounts and API keys have of themselves come last, without an id.
    """
    return await caller.ask(ListGrants(role=role, subject_id=subject_id, implicit=implicit))


@ROUTES.add("POST", "/grants", Permission.USERS_MANAGE, status_code=201)
async def add_grant(body: AddGrant, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> GrantView:
    """Grant a role in the project or, with `platform`, everywhere: never more than you have yourself.

    `ends_at` is when it stops to count. `condition.models` are patterns of names, such as `vision-*`: it counts only
    where such a model is named; with `condition.tags` only for models of the project that have one of these.
    `condition.aliases` are those that versions may be promoted to.
    """
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("DELETE", "/grants/{grant_id}", Permission.USERS_MANAGE)
async def revoke_grant(grant_id: GrantId, caller: CallerOf) -> GrantView:
    """Take a grant back; not the last one that makes an administrator (409)."""
    return await caller.ask(RevokeGrant(grant_id=grant_id))
