"""Requests that their callers do not wait for: kept in the object store, accepted by inference, answered later."""

import asyncio
import hashlib
import re
from dataclasses import replace
from typing import Final
from uuid import UUID

from starlette.types import Message, Receive

from services.gateway.open_inference.bodies import Body, InferenceBodies
from services.gateway.open_inference.protocol import Answer, Call, json_answer
from shared import frames
from shared.body_store import BodyStore
from shared.bus import Bus
from shared.context import Context
from shared.errors import AimassError, InvalidInput
from shared.names import is_slug
from shared.rpc.inference import DeferInference, InferenceView

PREFER: Final = b"prefer"
RESPOND_ASYNC: Final = b"respond-async"
LOCATION: Final = "/api/v1/inferences"
WEBHOOK: Final = b"x-webhook"
IDEMPOTENCY_KEY: Final = b"idempotency-key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def wants_no_wait(prefer: bytes) -> bool:
    """Whether this Prefer header (RFC 7240) asks for an answer later."""
    return any(one.partition(b";")[0].strip().lower() == RESPOND_ASYNC for one in prefer.split(b","))


class Measured:
    """Passes a body on and knows its digest and its size, as they came."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.digest = hashlib.sha256()
        self.size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        chunk = message.get("body", b"")
        self.digest.update(chunk)
        self.size += len(chunk)
        return message


class Deferral:
    """Hands requests over; after the 202 nothing of them is here any more."""

    def __init__(self, store: BodyStore, limit: int, bus: Bus) -> None:
        self._store, self._bus = store, bus
        self._bodies = InferenceBodies(store, limit)

    async def accept(self, call: Call, context: Context, seconds: float) -> Answer:
        """Keep the body, which comes within these seconds, and let inference accept the request.

        What is refused for good leaves nothing; where that is not known, inference drops what belongs to no request.
        """
        webhook, context = _webhook(call), replace(context, idempotency_key=_idempotency_key(call))
        call.receive = measured = Measured(call.receive)
        async with asyncio.timeout(seconds):
            body = await self._bodies.take(call)
        try:
            if not body.is_claimed:
                await self._store.keep(frames.request_claim(call.prediction_id), body.data)
            accepted = await self._bus.ask(asked := _order(call, body, measured, webhook), context)
        except AimassError as error:
            if not error.transient:
                self._bodies.forget(call)
            raise
        if accepted.id != asked.id:
            self._bodies.forget(call)
        return _answer(accepted)


def _order(call: Call, body: Body, measured: Measured, webhook: str | None) -> DeferInference:
    return DeferInference(
        id=str(UUID(bytes=call.prediction_id)),
        model=call.shared_as or call.model,
        version=int(call.version) if call.version else None,
        digest=measured.digest.hexdigest(),
        size=max(len(body.data), measured.size),
        header_length=body.header_length,
        webhook=webhook,
    )


def _webhook(call: Call) -> str | None:
    name = call.header(WEBHOOK)
    if name and not is_slug(name):
        raise InvalidInput("X-Webhook must be the name of a webhook: 1 to 64 of a-z, 0-9, '_' and '-'")
    return name or None


def _idempotency_key(call: Call) -> str:
    key = call.header(IDEMPOTENCY_KEY)
    if key and not _KEY.fullmatch(key):
        raise InvalidInput("Idempotency-Key must have 1 to 200 visible ASCII characters")
    return key


def _answer(accepted: InferenceView) -> Answer:
    """Where to look; the first look pays after about a second."""
    headers = [
        (b"location", f"{LOCATION}/{accepted.id}".encode()),
        (b"preference-applied", RESPOND_ASYNC),
        (b"retry-after", b"1"),
    ]
    return json_answer(accepted.model_dump(mode="json", exclude_none=True), 202, headers)
