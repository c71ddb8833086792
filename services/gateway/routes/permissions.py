"""Permissions: all there are, those of the caller, and whether somebody may do something, and why."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from services.gateway.access import authorise
from services.gateway.caller import Caller, CallerOf
from services.gateway.credentials import Principal
from services.gateway.explaining import Reason, explain, reasons_of
from services.gateway.routes.declare import Routes
from shared.grants import Condition
from shared.names import Slug
from shared.permissions import DESCRIPTIONS, Permission
from shared.rpc.grants import FindSubject, SubjectId

ROUTES = Routes("permissions")


class PermissionView(BaseModel):
    """A permission, and what it is for."""

    name: Permission
    description: str


class PermissionList(BaseModel):
    """All permissions there are."""

    permissions: list[PermissionView]


class Source(BaseModel):
    """Where somebody has a permission from: a role of his own, or a grant, until a time and under a condition."""

    permission: Permission
    role: str
    grant: str | None
    project: str
    until: datetime | None
    condition: Condition | None


class Sources(BaseModel):
    """All that somebody may do in a project, permission by permission."""

    project: str
    permissions: list[Source]


class Question(BaseModel):
    """May the caller, or a user, a service account or an API key by id, do this, with this model and this alias?"""

    model_config = ConfigDict(extra="forbid")
    permission: Permission
    subject: SubjectId | None = None
    model: Slug | None = None
    alias: Slug | None = None


class Verdict(BaseModel):
    """Whether it is allowed, why in a sentence, and the grant that decided, where it was one."""

    allowed: bool
    why: str
    role: str | None = None
    grant: str | None = None


@ROUTES.add("GET", "/permissions", Permission.MODELS_READ)
async def list_permissions() -> PermissionList:
    """All permissions there are, of which roles are made."""
    found = [PermissionView(name=permission, description=DESCRIPTIONS[permission]) for permission in Permission]
    return PermissionList(permissions=found)


@ROUTES.add("GET", "/me/permissions", Permission.MODELS_READ)
async def list_own_permissions(caller: CallerOf) -> Sources:
    """What you may do, from which role or grant, until when and under which condition."""
    who = caller.principal
    held = ((permission, reason) for permission in Permission for reason in reasons_of(who, permission))
    found = [_source(permission, reason, who.project) for permission, reason in held]
    return Sources(project=who.project, permissions=found)


@ROUTES.add("POST", "/permissions/check", Permission.MODELS_READ)
async def check_permission(body: Question, caller: CallerOf) -> Verdict:
    """Whether you, or with 'users:manage' somebody else, may do this; and why, by the rule that every request obeys."""
    principal = caller.principal
    if body.subject is not None and body.subject != principal.key_id:
        authorise(principal, Permission.USERS_MANAGE)
        found = await _subject(body.subject, caller)
        if found is None:
            return Verdict(allowed=False, why="this user is disabled, or this API key is revoked or has expired")
        principal = found
    allowed, why, reason = explain(principal, body.permission, body.model or "", body.alias or "")
    grant = reason.grant.id if reason and reason.grant else None
    return Verdict(allowed=allowed, why=why, role=reason.role if reason else None, grant=grant)


async def _subject(subject_id: str, caller: Caller) -> Principal | None:
    entry = await caller.ask(FindSubject(subject_id=subject_id))
    return caller.edges.gatekeeper.known(entry.name, caller.project)


def _source(permission: Permission, reason: Reason, project: str) -> Source:
    grant = reason.grant
    if grant is None:
        return Source(permission=permission, role=reason.role, grant=None, project=project, until=None, condition=None)
    facts = {"grant": grant.id, "project": grant.project, "until": grant.ends_at, "condition": grant.condition}
    return Source(permission=permission, role=grant.role, **facts)
