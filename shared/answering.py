"""Answering: requests over the bus, each in one transaction with what it says and with the key by which it is known."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from faststream.nats.annotations import NatsMessage
from faststream.response import Response
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ValidationError

from shared import failpoints, observe, outbox
from shared.bus import Bus, each, whole
from shared.context import Context
from shared.db import Connection, Database
from shared.errors import AimassError, Conflict, DeadlineExceeded, InvalidInput, TooLarge
from shared.handlers import RpcHandler
from shared.rpc.base import Request, as_bytes
from shared.work import Work

RPC_DEADLINE = 20.0
REPLY_MARGIN = 4096
# A client that asks again after a month means another thing.
PRUNE_KEYS = "DELETE FROM idempotency WHERE created_at < now() - interval '30 days'"
Way = Callable[[Request[Any], RpcHandler, Context], Awaitable[BaseModel]]

# Claim an idempotency key; nothing comes back when somebody did before.
CLAIM_KEY = """
INSERT INTO idempotency (project, key, request_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING key
"""
# The reply that was given for a key.
FIND_REPLY = "SELECT request_hash, reply FROM idempotency WHERE project = $1 AND key = $2"
# Keep the reply for the next one who asks the same.
KEEP_REPLY = "UPDATE idempotency SET reply = $3 WHERE project = $1 AND key = $2"


class Answering:
    """Answers what a service is asked."""

    def __init__(self, bus: Bus, parts: Any, database: Database | None, relay: outbox.Relay | None) -> None:
        self._bus, self._parts = bus, parts
        self._database, self._relay = database, relay

    def add(self, request: type[Request[Any]], handler: RpcHandler, answer_with: Way) -> None:
        """Answer requests of this kind from now on."""

        async def answer(message: NatsMessage) -> Response:
            context = Context.from_headers(message.headers)
            asked = request.model_validate_json(message.raw_message.data)
            with observe.span(f"process {message.raw_message.subject}", SpanKind.SERVER, context.traceparent):
                async with asyncio.timeout(context.seconds_left(RPC_DEADLINE)):
                    reply = await answer_with(asked, handler, context)
            return Response(self._fitting(as_bytes(reply)))

        self._bus.rpc_subscriber(request.subject(self._bus.service))(answer, filter=each, decoder=whole)

    def _fitting(self, body: bytes) -> bytes:
        """The body itself; raises TooLarge where the bus would only drop it and leave the caller waiting."""
        if len(body) > self._bus.connection.max_payload - REPLY_MARGIN:
            raise TooLarge(f"an answer of {len(body)} bytes does not fit into one message: ask for less")
        return body

    async def from_memory(self, asked: Request[Any], handler: RpcHandler, context: Context) -> BaseModel:
        reply: BaseModel = await handler(asked, self._parts)
        return reply

    async def in_transaction(self, asked: Request[Any], handler: RpcHandler, context: Context) -> BaseModel:
        assert self._database is not None
        async with self._database.transaction() as tx:
            key = context.idempotency_key if asked.idempotent else ""
            if key and (given := await _given_reply(tx, asked, context)) is not None:
                return given
            work = Work(tx, context, self._parts)
            reply: BaseModel = await handler(asked, work)
            if key:
                kept = reply.model_dump(mode="json", exclude=set(asked.not_kept))
                await tx.execute(KEEP_REPLY, context.project, key, kept)
            ids = await outbox.write(tx, work.said, context, self._bus.service)
        failpoints.reach("answered", type(asked).__name__)
        if ids and self._relay:
            self._relay.wake()
        if asked.awaits_publication and self._relay:
            await self._relay.wait_published(ids, context.seconds_left(3))
        await work.finish()
        return reply


def to_error(error: Exception) -> AimassError:
    """What is told of a failure."""
    if isinstance(error, AimassError):
        return error
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return InvalidInput(f"{field}: {first['msg']}", field=field)
    if isinstance(error, TimeoutError):
        return DeadlineExceeded()
    observe.log().error("request failed", exc_info=error)
    return AimassError("something went wrong here; the log of the service says more")


async def _given_reply(tx: Connection, asked: Request[Any], context: Context) -> BaseModel | None:
    """The reply already given for this key, or None after claiming the key."""
    compared = asked.model_dump_json(exclude=set(asked.varying))
    digest = hashlib.sha256(f"{asked.verb()} {compared}".encode()).hexdigest()
    if await tx.fetchval(CLAIM_KEY, context.project, context.idempotency_key, digest) is not None:
        return None
    row = await tx.fetchrow(FIND_REPLY, context.project, context.idempotency_key)
    assert row is not None
    if row["request_hash"] != digest:
        message = f"the Idempotency-Key {context.idempotency_key!r} was used for another request"
        raise Conflict(message, field="Idempotency-Key")
    return asked.repeated(row["reply"])
