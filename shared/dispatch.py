"""From a message to its handler: one transaction each, settled by one rule.

Success: commit, then ack. Transient failure: nak with backoff. Permanent failure: copy to the dead letters, then ack.
FastStream hands over whole messages; what they are is found here, by one look however many types there are.
"""

import asyncio
import json
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import nats.js.errors
from faststream import BaseMiddleware
from faststream.nats.annotations import NatsMessage
from faststream.response import Response
from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from shared import failpoints, inbox, observe, outbox
from shared.answering import Answering, to_error
from shared.batching import BatchSubscriber, acknowledge, handle_all
from shared.bus import ERROR_HEADER, Bus, each, whole
from shared.context import Context
from shared.db import Connection, Database
from shared.envelope import ORIGINAL_POSITION, Envelope, read_data, read_envelope
from shared.errors import InvalidInput, Unavailable
from shared.events.base import EXTENSION_TYPES, Command, Event, Foreign
from shared.handlers import EventHandler, Handlers
from shared.streams import ACK_WAIT, MAX_WORKERS, RETRY, consumers, dlq_subject
from shared.work import Save, Work

HANDLE_SECONDS = ACK_WAIT * 0.8

Kinds = dict[str, tuple[type[Event] | type[Command], EventHandler]]


class _AndExtensions(Kinds):
    """Kinds by their types, among them whatever extensions say."""

    def __init__(self, kinds: Kinds, others: EventHandler) -> None:
        super().__init__(kinds)
        self._others = others

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(EXTENSION_TYPES)

    def __missing__(self, name: str) -> tuple[type[Event], EventHandler]:
        return Foreign, self._others


def _is_jetstream(message: Msg) -> bool:
    return message.reply.startswith("$JS.ACK")


@dataclass(frozen=True)
class Heard:
    """An event or a command that came with a message of the bus, and what handles it."""

    raw: Msg
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

    def connect(self) -> None:
        """Register one subscriber per durable and one per request."""
        self.bus.broker.add_middleware(partial(_Settle, dispatcher=self))
        for stream, config in self.consumers.items():
            kinds = self._kinds(stream)
            if self.handlers.in_batches:
                handle = partial(self._receive_batch, stream, kinds)
                durable, drain = config.durable_name or "", self.bus.drain_seconds
                self.subscribers[stream] = BatchSubscriber(self.bus, stream, durable, handle, drain)
            else:
                self.subscribers[stream] = subscriber = self.bus.pull_subscriber(stream, config, MAX_WORKERS)
                subscriber(partial(self._receive, stream, kinds), filter=each, decoder=whole)
        answering = Answering(self.bus, self.parts, self.database, self.relay)
        for request, answer in self.handlers.rpc.items():
            answering.add(request, answer, answering.in_transaction)
        for request, answer in self.handlers.memory_rpc.items():
            answering.add(request, answer, answering.from_memory)

    async def start(self) -> None:
        """Begin to hear; FastStream has started its own subscribers."""
        if self.handlers.in_batches:
            for subscriber in self.subscribers.values():
                await subscriber.start()

    async def stop(self) -> None:
        """Finish what is in work; FastStream stops its own subscribers."""
        if self.handlers.in_batches:
            await asyncio.gather(*(subscriber.stop() for subscriber in self.subscribers.values()))

    def _kinds(self, stream: str) -> Kinds:
        """What may come, by its type; replayed messages arrive on RETRY whatever their first stream was."""
        found: Kinds = {}
        if stream in ("CMD", RETRY):
            found |= {command.type_name(): (command, h) for command, h in self.handlers.commands.items()}
        events = [event for event in self.handlers.events if stream in (event.stream, RETRY)]
        found |= {event.type_name(): (event, self.handlers.events[event]) for event in events}
        return _AndExtensions(found, self.handlers.others) if self.handlers.others else found

    async def _receive(self, stream: str, kinds: Kinds, message: NatsMessage) -> None:
        """Read a message and handle it."""
        heard = self._read(kinds, message.raw_message)
        with _processing(heard):
            await self._count_attempt(stream, heard)
            await self._handle([heard])

    def _read(self, kinds: Kinds, raw: Msg) -> Heard:
        """Raises InvalidInput for a type that this service does not handle: it goes to the dead letters."""
        headers = raw.headers or {}
        envelope = read_envelope(raw.subject, headers, raw.data, _position(raw), raw.metadata.timestamp)
        if envelope.type not in kinds:
            raise InvalidInput(f"{self.service} does not handle events of type {envelope.type}", field="type")
        kind, handler = kinds[envelope.type]
        return Heard(raw, kind.model_validate(read_data(headers, raw.data)), envelope, handler)

    async def _receive_batch(self, stream: str, kinds: Kinds, messages: list[Msg]) -> None:
        """Handle what can be read together, or each alone where that fails, so that nobody takes others along."""
        batch: list[Heard] = []
        for message in messages:
            try:
                heard = self._read(kinds, message)
                await self._count_attempt(stream, heard)
            except Exception as error:
                await self.settle(message, error)
            else:
                batch.append(heard)
        await handle_all(batch, self._handle_spanned, self._settle_all, lambda error: bool(inbox.is_transient(error)))

    async def _handle_spanned(self, batch: list[Heard]) -> None:
        """A batch has no span of its own, as it belongs to many traces."""
        with _processing(batch[0]) if len(batch) == 1 else nullcontext():
            await self._handle(batch)

    async def _settle_all(self, batch: list[Heard], error: Exception | None) -> None:
        if error is not None or len(batch) == 1:
            await asyncio.gather(*(self.settle(heard.raw, error) for heard in batch))
            return
        try:
            await acknowledge([heard.raw for heard in batch])
        except Exception as failure:
            observe.log().warning("could not settle, will come again", count=len(batch), error=repr(failure))

    async def _count_attempt(self, stream: str, heard: Heard) -> None:
        first = inbox.deliveries(heard.raw) == 1
        if self.database is None or (first and stream != RETRY):
            return
        async with self.database.transaction() as tx:
            if first:
                await tx.execute(inbox.FORGET_ATTEMPTS, self.service, heard.identity)
            else:
                await inbox.begin_attempt(tx, self.service, heard.identity)

    async def _handle(self, batch: list[Heard]) -> None:
        """Run the handlers in the one transaction that also notes their events as handled."""
        assert self.database is not None
        started = time.perf_counter()
        done: list[tuple[Heard, Work[Any]]] = []
        gathered: dict[Save, list[Any]] = {}
        async with asyncio.timeout(HANDLE_SECONDS), self.database.transaction() as tx:
            new = await inbox.take(tx, self.service, {heard.identity for heard in batch})
            for heard in batch:
                if heard.identity in new:
                    new.remove(heard.identity)
                    done.append((heard, await self._run(heard, tx, gathered)))
            for save, rows in gathered.items():
                await save(tx, rows)
        for heard in batch:
            failpoints.reach("handled", type(heard.message).__name__)
            observe.CONSUME_SECONDS.labels(self.service, heard.envelope.type).observe(time.perf_counter() - started)
        await self._finish(batch, done)

    async def _run(self, heard: Heard, tx: Connection, gathered: dict[Save, list[Any]]) -> Work[Any]:
        work: Work[Any] = Work(tx, context_of(heard.envelope), self.parts, heard.envelope, gathered=gathered)
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
        subject = dlq_subject(self.service, inbox.place(message))
        try:
            await self.bus.js.publish(subject, message.data, headers=headers, timeout=3)
        except nats.js.errors.APIError as refused:
            if refused.err_code != inbox.NOT_THE_FIRST:
                raise
            observe.log().info("died before, and was heard again", letter=subject)


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
            answer = to_error(error)
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


def _processing(heard: Heard) -> AbstractContextManager[Any]:
    """The span of handling one message."""
    attributes = {"messaging.system": "nats", "messaging.destination.name": heard.raw.subject}
    name, parent = f"process {heard.envelope.type}", heard.envelope.traceparent
    return observe.span(name, SpanKind.CONSUMER, parent, **attributes)


def _position(message: Msg) -> int:
    """Its sequence in the stream that it was first said on."""
    placed = message.metadata
    again = placed.stream == RETRY
    return int((message.headers or {}).get(ORIGINAL_POSITION, "0")) if again else placed.sequence.stream


def _identity(envelope: Envelope) -> str:
    return f"{envelope.source}|{envelope.id}"


def _identity_of(message: Msg) -> str:
    try:
        return _identity(read_envelope(message.subject, message.headers or {}, message.data))
    except (InvalidInput, ValueError):
        return f"{message.metadata.stream}|{message.metadata.sequence.stream}"


def context_of(envelope: Envelope) -> Context:
    return Context(
        project=envelope.project,
        actor=envelope.actor or envelope.source,
        correlation_id=envelope.correlation_id or envelope.id,
        causation_id=envelope.id,
        traceparent=envelope.traceparent,
    )
