"""Rotations of keys, and what gateways tell of their use."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.auth import entries
from services.auth import store as stored
from services.auth.domain import ApiKey
from services.auth.grants import desk
from services.auth.keys import domain, store
from shared.events.identity import ApiKeyRotated
from shared.handlers import RpcHandler
from shared.keys import new_secret
from shared.rpc import auth_keys as rpc
from shared.rpc.auth import ApiKeyCreated
from shared.rpc.base import Request
from shared.streams import CHANGED_SUBJECT, REVOKED_SUBJECT
from shared.work import Work


async def rotate_api_key(request: rpc.RotateApiKey, work: Work[Any]) -> ApiKeyCreated:
    secret, overlap = new_secret(), timedelta(seconds=request.overlap_seconds)
    key = await stored.lock(work.tx, work.project, request.key_id)
    await desk.check_may_stand_for(work, "key", key)
    rotated = domain.rotate(key, secret, datetime.now(UTC), overlap)
    await store.save_rotated(work.tx, rotated.new, rotated.old, rotated.counts_until)
    await entries.put_api_key(work, rotated.new)
    if overlap:
        await entries.put_api_key(work, rotated.old)
        work.then(lambda: work.parts.broadcast(CHANGED_SUBJECT, b""))
    else:
        entries.remove_api_key(work, rotated.old)
        work.then(lambda: work.parts.broadcast(REVOKED_SUBJECT, key.digest.encode()))
    actor = work.context.actor
    work.say(ApiKeyRotated(key_id=key.id, name=key.name, old_counts_until=rotated.counts_until, actor=actor))
    return ApiKeyCreated(**rotated.new.view().model_dump(), secret=secret)


async def forget_rotated(work: Work[Any], key: ApiKey) -> list[str]:
    """With its key, every secret before it goes; returns their digests."""
    digests = await store.forget_rotated(work.tx, key.id)
    for digest in digests:
        entries.remove_digest(work, key, digest)
    return digests


async def note_key_uses(request: rpc.NoteKeyUses, work: Work[Any]) -> rpc.KeyDays:
    await store.note_use(work.tx, {use.key_id: use.last_used_at for use in request.uses if use.last_used_at})
    counted = await store.count_day(work.tx, request.day, {use.key_id: use.requests for use in request.uses})
    return rpc.KeyDays(day=request.day, requests=counted)


KEY_RPC: dict[type[Request[Any]], RpcHandler] = {rpc.RotateApiKey: rotate_api_key, rpc.NoteKeyUses: note_key_uses}
