"""API keys: made, listed and revoked by auth."""

from typing import Annotated

from fastapi import Path, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.permissions import Permission
from shared.rpc.auth import ApiKeyCreated, ApiKeyList, ApiKeyView, CreateApiKey, ListApiKeys, RevokeApiKey

ROUTES = Routes("api keys")
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


@ROUTES.add("GET", "/api-keys", Permission.KEYS_MANAGE)
async def list_api_keys(caller: CallerOf) -> ApiKeyList:
    """The API keys of the project, newest first, without their secrets."""
    return await caller.ask(ListApiKeys())


@ROUTES.add("POST", "/api-keys", Permission.KEYS_MANAGE, status_code=201)
async def create_api_key(
    body: CreateApiKey, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> ApiKeyCreated:
    """Make an API key; its secret is in this answer and nowhere else.

    The same Idempotency-Key makes no second API key: a repeat is answered with 409, which names the one that was made.
    """
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("DELETE", "/api-keys/{key_id}", Permission.KEYS_MANAGE)
async def revoke_api_key(key_id: KeyId, caller: CallerOf) -> ApiKeyView:
    """Refuse an API key from now on."""
    return await caller.ask(RevokeApiKey(key_id=key_id))
