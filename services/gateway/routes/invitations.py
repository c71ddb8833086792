"""Invitations: an admin sends a token, and who gets it chooses a password."""

from typing import Annotated

from fastapi import Path, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.permissions import Permission
from shared.rpc import invitations as rpc
from shared.rpc.auth import UserView
from shared.rpc.invitations import SERVICE

ROUTES = Routes("users")
ACCEPT = f"{PREFIX}/invitations/accept"
InvitationId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


@ROUTES.add("GET", "/invitations", Permission.USERS_MANAGE)
async def list_invitations(caller: CallerOf) -> rpc.InvitationList:
    """The invitations of the project that still count, the newest first."""
    return await caller.ask(rpc.ListInvitations(), service=SERVICE)


@ROUTES.add("POST", "/invitations", Permission.USERS_MANAGE, status_code=201)
async def create_invitation(
    body: rpc.CreateInvitation, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> rpc.InvitationWithToken:
    """Invite a person; the token is in this answer and nowhere else, counts once, and for seven days at most.

    The same Idempotency-Key makes no second invitation: a repeat is answered with 409, which names the first.
    """
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, service=SERVICE, idempotency_key=idempotency_key)


@ROUTES.add("POST", "/invitations/accept", None, status_code=201)
async def accept_invitation(body: rpc.AcceptInvitation, caller: CallerOf) -> UserView:
    """Become the user that was invited, with a password of your own; then log in."""
    return await caller.ask(body, service=SERVICE)


@ROUTES.add("DELETE", "/invitations/{invitation_id}", Permission.USERS_MANAGE, status_code=204)
async def revoke_invitation(invitation_id: InvitationId, caller: CallerOf) -> None:
    """Let an invitation count no more."""
    await caller.ask(rpc.RevokeInvitation(invitation_id=invitation_id), service=SERVICE)
