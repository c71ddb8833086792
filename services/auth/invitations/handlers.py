"""The requests about invitations: load, decide, save, say."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.auth.grants import desk
from services.auth.invitations import domain, store
from services.auth.invitations.domain import Invitation
from shared.errors import Conflict
from shared.events.identity import InvitationCreated, InvitationRevoked
from shared.handlers import RpcHandler
from shared.rpc import invitations as rpc
from shared.rpc.base import Done, Request
from shared.work import Work


async def create_invitation(request: rpc.CreateInvitation, work: Work[Any]) -> rpc.InvitationWithToken:
    if await store.is_taken(work.tx, request.name):
        raise Conflict(f"there is a user named '{request.name}' already", field="name")
    token, by, now = domain.new_token(), work.context.actor, datetime.now(UTC)
    invitation = domain.draft(
        token, request.name, request.roles, project=work.project, by=by, now=now, ends_at=request.ends_at
    )
    await desk.check_may_give(work, invitation.roles)
    await store.insert(work.tx, invitation)
    work.say(InvitationCreated(**_said(invitation, work), roles=invitation.roles))
    return rpc.InvitationWithToken(**invitation.view().model_dump(), token=token)


async def list_invitations(_: rpc.ListInvitations, work: Work[Any]) -> rpc.InvitationList:
    return rpc.InvitationList(invitations=[each.view() for each in await store.listed(work.tx, work.project)])


async def revoke_invitation(request: rpc.RevokeInvitation, work: Work[Any]) -> Done:
    invitation, now = await store.lock(work.tx, work.project, request.invitation_id), datetime.now(UTC)
    invitation.check(now)
    await store.save(work.tx, replace(invitation, revoked_at=now))
    work.say(InvitationRevoked(**_said(invitation, work)))
    return Done()


def _said(invitation: Invitation, work: Work[Any]) -> dict[str, str]:
    return {"invitation_id": invitation.id, "name": invitation.name, "actor": work.context.actor}


INVITATION_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.CreateInvitation: create_invitation,
    rpc.ListInvitations: list_invitations,
    rpc.RevokeInvitation: revoke_invitation,
}
