"""API keys: made, listed and revoked by auth."""

from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.caller import Caller, CallerOf
from services.gateway.limits.rules import is_within_models
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.errors import Forbidden
from shared.permissions import Permission
from shared.rpc.auth import ApiKeyCreated, ApiKeyList, ApiKeyView, CreateApiKey, ListApiKeys, RevokeApiKey
from shared.rpc.auth_keys import LONGEST_OVERLAP, RotateApiKey

ROUTES = Routes("api keys")
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


class Rotation(BaseModel):
    """How long the secret before goes on to count."""

    model_config = ConfigDict(extra="forbid")
    overlap_seconds: int = Field(default=3600, ge=0, le=LONGEST_OVERLAP)


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
    _check_narrower(caller, body)
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("DELETE", "/api-keys/{key_id}", Permission.KEYS_MANAGE)
async def revoke_api_key(key_id: KeyId, caller: CallerOf) -> ApiKeyView:
    """Refuse an API key from now on."""
    return await caller.ask(RevokeApiKey(key_id=key_id))


@ROUTES.add("POST", "/api-keys/{key_id}/rotate", Permission.KEYS_MANAGE)
async def rotate_api_key(
    key_id: KeyId,
    caller: CallerOf,
    response: Response,
    body: Rotation | None = None,
    idempotency_key: IdempotencyKey = "",
) -> ApiKeyCreated:
    """Give a key another secret, which is in this answer and nowhere else; the one before counts for a while."""
    response.headers["Cache-Control"] = "no-store"
    rules = caller.principal.rules
    if rules is not None and (rules.scopes is not None or rules.models) and key_id != caller.principal.key_id:
        raise Forbidden("an API key with scopes or models may rotate itself alone: another key may do more")
    asked = RotateApiKey(key_id=key_id, overlap_seconds=(body or Rotation()).overlap_seconds)
    return await caller.ask(asked, idempotency_key=idempotency_key)


def _check_narrower(caller: Caller, wanted: CreateApiKey) -> None:
    """Raises Forbidden where a narrowed key would make one that may do more than itself."""
    rules = caller.principal.rules
    if rules is None:
        return
    if rules.scopes is not None and not (wanted.scopes and rules.scopes.issuperset(wanted.scopes)):
        raise Forbidden(
            f"scopes: your API key makes keys with scopes of {', '.join(sorted(rules.scopes))}", field="scopes"
        )
    if not is_within_models(wanted.models, rules.models):
        raise Forbidden(f"models: your API key makes keys for models of {', '.join(rules.models)}", field="models")
