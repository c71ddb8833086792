"""From a message to its handler: one transaction each, settled by one rule.

Success: commit, then ack. Transient failure: nak with backoff. Permanent failure: copy to the dead letters, then ack.
FastStream hands over whole messages; what they are is found here, by one look however many types there are.
"""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from faststream import BaseMiddleware
from faststream.nats.annotations import NatsMessage
from faststream.response import Response
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ValidationError

from shared import failpoints, inbox, observe, outbox
from shared.batching import Batches
from shared.bus import ERROR_HEADER, Bus
from shared.context import Context
from shared.db import Connection, Database
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import AimassError, Conflict, DeadlineExceeded, InvalidInput, TooLarge, Unavailable
from shared.events.base import Command, Event
from shared.handlers import EventHandler, Handlers, RpcHandler
from shared.rpc.base import Request
from shared.streams import ACK_WAIT, MAX_ACK_PENDING, MAX_WORKERS, RETRY, consumers, dlq_subject
from shared.work import Work

HANDLE_SECONDS = ACK_WAIT * 0.8
RPC_DEADLINE = 20.0
REPLY_MARGIN = 4096
BATCH = MAX_ACK_PENDING

# Claim an idempotency key; nothing comes back when somebody did before.
CLAIM_KEY = """
INSERT INTO idempotency (project, key, request_hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING key
"""
# The reply that was given for a key.
FIND_REPLY = "SELECT request_hash, reply FROM idempotency WHERE project = $1 AND key = $2"
# Keep the reply for the next one who asks the same.
KEEP_REPLY = "UPDATE idempotency SET reply = $3 WHERE project = $1 AND key = $2"


Kinds = dict[str, tuple[type[Event] | type[Command], EventHandler]]


def _is_jetstream(message: Msg) -> bool:
    return message.reply.startswith("$JS.ACK")


async def whole(message: NatsMessage) -> NatsMessage:
    return message


async def each(message: NatsMessage) -> bool:
    """FastStream's own filter is no coroutine, and would take a thread for each message."""
    return True


@dataclass(frozen=True)
class Heard:
    """An event or a command that came, and what handles it."""

    message: Any
    envelope: Envelope
    handler: EventHandler

    @property
    def identity(self) -> str:
        return _identity(self.envelope)


class Dispatcher:
    """Connects the handlers of one service to the bus."""

    def __init__(
        self, bus: Bus, handlers: Handlers, parts: Any, database: Database | None, relay: outbox.Relay | None
    ) -> None:
        self.bus, self.handlers, self.parts = bus, handlers, parts
        self.database, self.relay = database, relay
        self.service = handlers.service
        self.consumers = consumers(handlers.declaration)
        self.subscribers: dict[str, Any] = {}
        self._batches = Batches(self._handle, BATCH)

    def connect(self) -> None:
        """Register one subscriber per durable and one per request."""
        self.bus.broker.add_middleware(partial(_Settle, dispatcher=self))
        for stream, config in self.consumers.items():
            workers = BATCH if self.handlers.in_batches else MAX_WORKERS
            self.subscribers[stream] = subscriber = self.bus.pull_subscriber(stream, config, workers)
            subscriber(partial(self._receive, stream, self._kinds(stream)), filter=each, decoder=whole)
        for request, answer in (self.handlers.rpc | self.handlers.memory_rpc).items():
            self._add_request(request, answer, request in self.handlers.rpc)

    def _kinds(self, stream: str) -> Kinds:
        """What may come, by its type; replayed messages arrive on RETRY whatever their first stream was."""
        found: Kinds = {}
        if stream in ("CMD", RETRY):
            found |= {command.type_name(): (command, h) for command, h in self.handlers.commands.items()}
        events = [event for event in self.handlers.events if stream in (event.stream, RETRY)]
        return found | {event.type_name(): (event, self.handlers.events[event]) for event in events}

    async def _receive(self, stream: str, kinds: Kinds, message: NatsMessage) -> None:
        """Read a message and handle it; one of unknown type goes to the dead letters."""
        raw = message.raw_message
        headers = raw.headers or {}
        envelope = read_envelope(raw.subject, headers, raw.data)
        if envelope.type not in kinds:
            raise InvalidInput(f"{self.service} does not handle events of type {envelope.type}", field="type")
        kind, handler = kinds[envelope.type]
        event = kind.model_validate(read_data(headers, raw.data))
        attributes = {"messaging.system": "nats", "messaging.destination.name": raw.subject}
        with observe.span(f"process {envelope.type}", SpanKind.CONSUMER, envelope.traceparent, **attributes):
            started = time.perf_counter()
            await self._count_attempt(stream, raw, envelope)
            heard = Heard(event, envelope, handler)
            await (self._batches.add(heard) if self.handlers.in_batches else self._handle([heard]))
            observe.CONSUME_SECONDS.labels(self.service, envelope.type).observe(time.perf_counter() - started)

    async def _count_attempt(self, stream: str, message: Msg, envelope: Envelope) -> None:
        first = inbox.deliveries(message) == 1
        if self.database is None or (first and stream != RETRY):
            return
        async with self.database.transaction() as tx:
            if first:
                await tx.execute(inbox.FORGET_ATTEMPTS, self.service, _identity(envelope))
            else:
                await inbox.begin_attempt(tx, self.service, _identity(envelope))

    async def _handle(self, batch: list[Heard]) -> None:
        """Run the handlers in the one transaction that also notes their events as handled."""
        assert self.database is not None
        done: list[tuple[Heard, Work[Any]]] = []
        async with asyncio.timeout(HANDLE_SECONDS), self.database.transaction() as tx:
            new = await inbox.take(tx, self.service, {heard.identity for heard in batch})
            for heard in batch:
                if heard.identity in new:
                    new.remove(heard.identity)
                    done.append((heard, await self._run(heard, tx)))
        for heard in batch:
            failpoints.reach("handled", type(heard.message).__name__)
        await self._finish(batch, done)

    async def _run(self, heard: Heard, tx: Connection) -> Work[Any]:
        work: Work[Any] = Work(tx, _context_of(heard.envelope), self.parts, heard.envelope)
        await heard.handler(heard.message, work)
        work.written = await outbox.write(tx, work.said, work.context, self.service)
        return work

    async def _finish(self, batch: list[Heard], done: list[tuple[Heard, Work[Any]]]) -> None:
        first = {id(heard) for heard, _ in done}
        for heard in batch:
            outcome = "done" if id(heard) in first else "repeat"
            observe.CONSUMED.labels(self.service, heard.envelope.type, outcome).inc()
        if any(work.written for _, work in done):
            self._wake()
        for _, work in done:
            await work.finish()

    def _wake(self) -> None:
        if self.relay:
            self.relay.wake()

    def _add_request(self, request: type[Request[Any]], handler: RpcHandler, transactional: bool) -> None:
        answer_with = self._answer_in_transaction if transactional else self._answer_from_memory

        async def answer(message: NatsMessage) -> Response:
            context = Context.from_headers(message.headers)
            asked = request.model_validate_json(message.raw_message.data)
            with observe.span(f"process {message.raw_message.subject}", SpanKind.SERVER, context.traceparent):
                async with asyncio.timeout(context.seconds_left(RPC_DEADLINE)):
                    reply = await answer_with(asked, handler, context)
            return Response(self._fitting(reply.model_dump_json().encode()))

        self.bus.rpc_subscriber(request.subject(self.service))(answer, filter=each, decoder=whole)

    def _fitting(self, body: bytes) -> bytes:
        """The body itself; raises TooLarge where the bus would only drop it and leave the caller waiting."""
        if len(body) > self.bus.connection.max_payload - REPLY_MARGIN:
            raise TooLarge(f"an answer of {len(body)} bytes does not fit into one message: ask for less")
        return body

    async def _answer_from_memory(self, asked: Request[Any], handler: RpcHandler, context: Context) -> BaseModel:
        reply: BaseModel = await handler(asked, self.parts)
        return reply

    async def _answer_in_transaction(self, asked: Request[Any], handler: RpcHandler, context: Context) -> BaseModel:
        assert self.database is not None
        async with self.database.transaction() as tx:
            key = context.idempotency_key if asked.idempotent else ""
            if key and (given := await _given_reply(tx, asked, context)) is not None:
                return given
            work = Work(tx, context, self.parts)
            reply: BaseModel = await handler(asked, work)
            if key:
                kept = reply.model_dump(mode="json", exclude=set(asked.not_kept))
                await tx.execute(KEEP_REPLY, context.project, key, kept)
            ids = await outbox.write(tx, work.said, context, self.service)
        failpoints.reach("answered", type(asked).__name__)
        if ids:
            self._wake()
        if asked.awaits_publication and self.relay:
            await self.relay.wait_published(ids, context.seconds_left(3))
        await work.finish()
        return reply

    async def settle(self, message: Msg, error: BaseException | None) -> None:
        """Ack, nak or bury a message of a stream; what cannot be settled now is delivered again."""
        try:
            await self._settle(message, error)
        except Exception as failure:
            observe.log().warning("could not settle, will come again", subject=message.subject, error=repr(failure))

    async def _settle(self, message: Msg, error: BaseException | None) -> None:
        if error is None:
            await message.ack_sync(timeout=3)
            return
        kind = (message.headers or {}).get("ce-type", "unknown")
        if await self._is_permanent(message, error):
            observe.CONSUMED.labels(self.service, kind, "dead").inc()
            await self._bury(message, error)
            await message.ack_sync(timeout=3)
            return
        observe.CONSUMED.labels(self.service, kind, "retry").inc()
        observe.log().warning("will try again", subject=message.subject, error=repr(error))
        await message.nak(delay=inbox.backoff(inbox.deliveries(message)))

    async def _is_permanent(self, message: Msg, error: BaseException) -> bool:
        transient = inbox.is_transient(error)
        if transient is False or self.database is None:
            return not transient
        try:
            return await self._is_exhausted(self.database, _identity_of(message), bool(transient))
        except Unavailable as failure:  # its connection may have been cut too: that is no reason to wait any longer
            observe.log().warning("attempt not counted", subject=message.subject, error=repr(failure))
            return False

    async def _is_exhausted(self, database: Database, identity: str, transient: bool) -> bool:
        async with database.transaction() as tx:
            if transient:
                await tx.execute(inbox.FORGIVE_ATTEMPT, self.service, identity)
                return False
            return inbox.exhausted(await tx.fetchval(inbox.COUNT_FAILURE, self.service, identity))

    async def _bury(self, message: Msg, error: BaseException) -> None:
        observe.log().error("dead letter", subject=message.subject, error=repr(error), exc_info=error)
        headers = inbox.dead_letter_headers(message, self.service, error)
        await self.bus.js.publish(dlq_subject(self.service), message.data, headers=headers, timeout=3)


class _Settle(BaseMiddleware[Any, Any]):
    """Sees every message and every error, those of parsing and routing too."""

    def __init__(self, message: Msg, /, *, context: Any, dispatcher: Dispatcher) -> None:
        super().__init__(message, context=context)
        self._message = message
        self._dispatcher = dispatcher

    async def consume_scope(self, call_next: Any, msg: Any) -> Any:
        if _is_jetstream(self._message):
            return await call_next(msg)
        started, verb, outcome = time.perf_counter(), self._message.subject.split(".")[-1], "ok"
        try:
            return await call_next(msg)
        except Exception as error:
            answer = _to_error(error)
            outcome = answer.code
            return Response(json.dumps(answer.to_wire()).encode(), headers={ERROR_HEADER: answer.code})
        finally:
            seconds = time.perf_counter() - started
            observe.RPC_SECONDS.labels(self._dispatcher.service, verb, outcome).observe(seconds)

    async def after_processed(self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None) -> bool:
        if _is_jetstream(self._message) and not isinstance(exc_val, asyncio.CancelledError):
            await self._dispatcher.settle(self._message, exc_val)
            return True
        return False


def _to_error(error: Exception) -> AimassError:
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


def _identity(envelope: Envelope) -> str:
    return f"{envelope.source}|{envelope.id}"


def _identity_of(message: Msg) -> str:
    try:
        return _identity(read_envelope(message.subject, message.headers or {}, message.data))
    except (InvalidInput, ValueError):
        return f"{message.metadata.stream}|{message.metadata.sequence.stream}"


def _context_of(envelope: Envelope) -> Context:
    return Context(
        project=envelope.project,
        actor=envelope.actor or envelope.source,
        correlation_id=envelope.correlation_id or envelope.id,
        causation_id=envelope.id,
        traceparent=envelope.traceparent,
    )


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
