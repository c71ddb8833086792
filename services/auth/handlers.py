"""What auth answers: load, decide, save, say; every change reaches the gateways through the outbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.auth import domain, store
from services.auth.domain import ApiKey
from shared.credentials import credential_subject
from shared.events.identity import ApiKeyCreated, ApiKeyRevoked
from shared.handlers import Handlers
from shared.rpc import auth as rpc
from shared.streams import CREDENTIAL_SUBJECT, CREDENTIALS, REVOKED_SUBJECT
from shared.work import Work

KV_DELETE = {"KV-Operation": "DEL"}


@dataclass(frozen=True)
class Parts:
    """`broadcast` tells every gateway at once, over core NATS."""

    broadcast: Callable[[str, bytes], Awaitable[None]]


def publish_credential(work: Work[Any], key: ApiKey) -> None:
    """Give the key to the gateways."""
    body = key.credential().model_dump_json().encode()
    work.send(f"key/{key.id}", credential_subject(key.digest), body, {})


async def create_api_key(request: rpc.CreateApiKey, work: Work[Parts]) -> rpc.ApiKeyCreated:
    secret = domain.new_secret()
    key = domain.draft(
        secret,
        project=work.project,
        name=request.name,
        roles=request.roles,
        created_by=work.context.actor,
        now=datetime.now(UTC),
        expires_at=request.expires_at,
    )
    await store.insert(work.tx, key)
    publish_credential(work, key)
    work.say(ApiKeyCreated(key_id=key.id, name=key.name, roles=key.roles, actor=key.created_by))
    return rpc.ApiKeyCreated(**key.view().model_dump(), secret=secret)


async def list_api_keys(_: rpc.ListApiKeys, work: Work[Parts]) -> rpc.ApiKeyList:
    return rpc.ApiKeyList(keys=[key.view() for key in await store.list_keys(work.tx, work.project)])


async def revoke_api_key(request: rpc.RevokeApiKey, work: Work[Parts]) -> rpc.ApiKeyView:
    """A repeat tells the gateways again, which is harmless."""
    admins = await store.lock_admins(work.tx, work.project)
    key = await store.lock(work.tx, work.project, request.key_id)
    revoked = domain.revoke(key, admins, datetime.now(UTC))
    if key.revoked_at is None:
        await store.save_revoked(work.tx, revoked)
        work.say(ApiKeyRevoked(key_id=key.id, name=key.name, actor=work.context.actor))
    work.send(f"key/{key.id}", credential_subject(key.digest), b"", KV_DELETE)
    work.then(lambda: work.parts.broadcast(REVOKED_SUBJECT, key.digest.encode()))
    return revoked.view()


HANDLERS = Handlers(
    "auth",
    rpc={
        rpc.CreateApiKey: create_api_key,
        rpc.ListApiKeys: list_api_keys,
        rpc.RevokeApiKey: revoke_api_key,
    },
    publishes=(f"{CREDENTIAL_SUBJECT}.>", REVOKED_SUBJECT),
    reads=(f"KV_{CREDENTIALS}",),
)
