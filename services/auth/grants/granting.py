"""The requests about grants: load, decide, save, say; the holders' entries in the bucket follow."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from services.auth import store as auth_store
from services.auth.accounts import store as account_store
from services.auth.grants import desk, domain, store
from services.auth.grants.desk import Work
from services.auth.grants.domain import Grant
from shared.db import Connection
from shared.errors import NotFound
from shared.events.rights import GrantAdded, GrantRevoked
from shared.grants import EVERYWHERE, Condition, SubjectKind, built_in
from shared.handlers import RpcHandler
from shared.names import new_id
from shared.permissions import Permission
from shared.rpc import grants as rpc
from shared.rpc.base import Request
from shared.tokens import user_name


class Named(Protocol):
    """Somebody of a project."""

    @property
    def name(self) -> str: ...

    @property
    def project(self) -> str: ...


async def list_grants(request: rpc.ListGrants, work: Work) -> rpc.GrantList:
    found = await store.list_grants(work.tx, work.project, request.role, request.subject_id)
    views = [grant.view() for grant in found]
    if request.implicit:
        own = (rpc.GrantView(**row) for row in await store.implicit(work.tx, work.project, request.subject_id))
        views += [view for view in own if request.role in (None, view.role)]
    return rpc.GrantList(grants=views)


async def add_grant(request: rpc.AddGrant, work: Work) -> rpc.GrantView:
    project, now = EVERYWHERE if request.platform else work.project, datetime.now(UTC)
    domain.check_end(request.ends_at, now)
    await store.lock_all(work.tx)
    held = await desk.rights_here(work, project)
    if request.platform:
        domain.check_platform(held)
    domain.check_covers(held, await _permissions(work, project, request.role), request.ends_at)
    name = await _name(work, request)
    whose = (request.subject_kind, request.subject_id, request.ends_at, request.condition)
    grant = Grant(new_id(), project, request.role, *whose, work.context.actor, now, name)
    await store.insert_grant(work.tx, grant)
    await _tell(work, grant)
    condition = grant.condition or Condition.model_construct()
    limits = {"models": condition.models, "aliases": condition.aliases, "tags": condition.tags}
    work.say(GrantAdded(**_said(grant, work), ends_at=grant.ends_at, **limits))
    return grant.view()


async def revoke_grant(request: rpc.RevokeGrant, work: Work) -> rpc.GrantView:
    async with desk.keeping_admins(work.tx):
        grant = await store.grant(work.tx, work.project, request.grant_id)
        if grant.project == EVERYWHERE:
            domain.check_platform(await desk.rights_here(work, EVERYWHERE))
        await store.delete_grant(work.tx, grant)
    await _tell(work, grant)
    work.say(GrantRevoked(**_said(grant, work)))
    return grant.view()


async def find_subject(request: rpc.FindSubject, work: Work) -> rpc.SubjectEntry:
    """Raises NotFound for who neither is of the project nor has a grant in it."""
    found = await store.subject(work.tx, request.subject_id)
    if found is not None and found["kind"] != "user" and found["project"] == work.project:
        name = found["name"] if found["kind"] == "key" else user_name(request.subject_id)
        return rpc.SubjectEntry(name=name, project=work.project)
    if found is not None and found["kind"] == "user":
        grants = await store.held(work.tx, "user", request.subject_id)
        if found["project"] == work.project or any(grant.project == work.project for grant in grants):
            return rpc.SubjectEntry(name=user_name(request.subject_id), project=work.project)
    raise NotFound(f"there is no user, service account or API key with the id '{request.subject_id}'", field="subject")


async def _permissions(work: Work, project: str, role: str) -> frozenset[Permission]:
    """What a role permits that can be granted there."""
    fixed = built_in(role)
    return fixed if fixed is not None else (await store.role(work.tx, project, role)).known()


async def _name(work: Work, request: rpc.AddGrant) -> str:
    """The name of who gets it; groups, keys and service accounts are of the project, a user may be of another one.

    Raises NotFound for nobody, and for who is disabled or revoked.
    """
    if request.subject_kind == "group":
        return (await store.group_of(work.tx, work.project, request.subject_id)).name
    found = await _LOCKS[request.subject_kind](work.tx, request.subject_id)
    anywhere = request.platform or request.subject_kind == "user"
    names = [each.name for each in found if anywhere or each.project == work.project]
    if not names:
        what = _WHAT[request.subject_kind]
        raise NotFound(f"there is no active {what} with the id '{request.subject_id}'", field="subject_id")
    return names[0]


_WHAT: dict[SubjectKind, str] = {"user": "user", "account": "service account", "key": "API key"}
_LOCKS: dict[SubjectKind, Callable[[Connection, str], Awaitable[Sequence[Named]]]] = {
    "user": lambda tx, subject_id: auth_store.lock_enabled(tx, [user_name(subject_id)]),
    "account": lambda tx, subject_id: account_store.lock_named(tx, [user_name(subject_id)]),
    "key": lambda tx, subject_id: auth_store.lock_active_ids(tx, [subject_id]),
}


async def _tell(work: Work, grant: Grant) -> None:
    if grant.subject_kind == "group":
        members = await store.members(work.tx, grant.subject_id)
        await desk.tell(work, "user", members)
    else:
        await desk.tell(work, grant.subject_kind, [grant.subject_id])


def _said(grant: Grant, work: Work) -> dict[str, Any]:
    whose = {"subject_kind": grant.subject_kind, "subject_id": grant.subject_id}
    return {"grant_id": grant.id, "role": grant.role, "scope": grant.project, **whose, "actor": work.context.actor}


GRANTING_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.ListGrants: list_grants,
    rpc.AddGrant: add_grant,
    rpc.RevokeGrant: revoke_grant,
    rpc.FindSubject: find_subject,
}
