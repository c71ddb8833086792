"""The audit: who decided what, why and because of what, and whether all of it still is as it was written."""

from typing import Annotated

from fastapi import Query

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from shared.permissions import Permission
from shared.rpc.monitor import AuditList, AuditVerification, ListAudit, VerifyAudit

ROUTES = Routes("audit")
VERIFY_SECONDS = 20.0
Text = Annotated[str, Query(pattern=r"^[^\x00-\x1f\x7f]{0,200}$")]


@ROUTES.add("GET", "/audit", Permission.AUDIT_READ)
async def list_audit(
    caller: CallerOf,
    actor: Text = "",
    type: Text = "",  # noqa: A002
    subject: Text = "",
    before: Annotated[int, Query(ge=0, le=2**62, description="only entries before this position")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditList:
    """Decisions in the project, newest first: grants, keys, promotions, deletions, deployments, dead letters."""
    asked = ListAudit(actor=actor or None, type=type, about=subject, before=before, limit=limit)
    return await caller.ask(asked)


@ROUTES.add("GET", "/audit/verification", Permission.AUDIT_READ, platform=True)
async def verify_audit(caller: CallerOf) -> AuditVerification:
    """Whether each entry, of all projects, is as it was written, and the first one that is not."""
    return await caller.ask(VerifyAudit(), seconds=VERIFY_SECONDS)
