"""The broker factory: one FastStream broker a service, made so that it never gives up and never loses a message.

Nobody else builds a broker or a NATS connection.
"""

import asyncio
import json
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.nats.annotations import NatsMessage
from faststream.nats.security import NatsSecurity
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared import failpoints, observe
from shared.context import Context
from shared.denials import Denials
from shared.direct import DirectClient
from shared.drift import Difference, consumer_differences, stream_differences
from shared.errors import DeadlineExceeded, Drift, Unavailable, from_wire
from shared.names import new_id
from shared.pulling import PullingJetStream
from shared.rpc.base import Request
from shared.settings import ServiceSettings
from shared.streams import dlq_subject
from shared.tls import client_context

PROVISION = "run ./justw provision"
RPC_SECONDS = 5.0
RPC_WORKERS = 16
PULL_SECONDS = 15.0
ERROR_HEADER = "aimass-error"
BATCH_ID, BATCH_SEQUENCE, BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
RECONNECT_SECONDS = 0.25
Answer = TypeVar("Answer", bound=BaseModel)


def _connection_options(service: str, denials: Denials) -> dict[str, Any]:
    return {
        "inbox_prefix": f"_INBOX_{service}".encode(),
        "error_cb": denials.on_error,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_SECONDS,
        "connect_timeout": 2,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
    }


async def connect(service: str, settings: ServiceSettings, **options: Any) -> DirectClient:
    """A plain NATS connection that waits for the bus and reconnects for ever."""
    client = DirectClient()
    await client.connect(
        settings.nats_url,
        user=settings.nats_user or service,
        password=settings.nats_password.get_secret_value(),
        name=service,
        tls=_tls(settings),
        tls_handshake_first=settings.nats_ca is not None,
        **_connection_options(service, Denials(service, lambda: client)),
        **options,
    )
    return client


def _tls(settings: ServiceSettings) -> ssl.SSLContext | None:
    """For a handshake before anything else is said: a bus without TLS, real or not, never hears the password."""
    return client_context(settings.nats_ca, settings.nats_cert, settings.nats_key) if settings.nats_ca else None


async def settle(connection: Client, seconds: int = 2) -> None:
    """Return when the bus knows all subscriptions and messages of before.

    One flush does not tell: in nats-py its ping overtakes what the flushing task has not written yet.
    """
    for _ in range(2):
        await connection.flush(seconds)


def _server_with_login(settings: ServiceSettings, service: str) -> str:
    scheme, _, address = settings.nats_url.partition("://")
    return f"{scheme}://{settings.nats_user or service}:{settings.nats_password.get_secret_value()}@{address}"


async def whole(message: NatsMessage) -> NatsMessage:
    return message


async def each(message: NatsMessage) -> bool:
    """FastStream's own filter is no coroutine, and would take a thread for each message."""
    return True


class Bus:
    """A service's side of the bus: its broker, its JetStream context and its way to ask others."""

    def __init__(self, service: str, settings: ServiceSettings, **broker_options: Any) -> None:
        self.service, self.drain_seconds = service, settings.drain_seconds
        self._stream: PullingJetStream | None = None
        self._denials = Denials(service, lambda: self.connection)
        self._answering: list[Any] = []
        self.broker = NatsBroker(
            _server_with_login(settings, service),
            logger=None,
            ack_policy=AckPolicy.MANUAL,
            graceful_timeout=settings.drain_seconds,
            apply_types=False,
            name=service,
            reconnected_cb=self._pull_again,
            security=NatsSecurity(ssl_context=_tls(settings), tls_handshake_first=settings.nats_ca is not None),
            **_connection_options(service, self._denials),
            **broker_options,
        )

    async def connect(self) -> None:
        await self.broker.connect()
        self._stream = PullingJetStream(self.connection)
        self.broker.config.connection_state.connect(self.connection, self._stream)

    async def _pull_again(self) -> None:
        if self._stream:
            self._stream.again()

    async def stop(self) -> None:
        """Finish what is in work and leave; without a bus there is nobody to take leave of."""
        try:
            await asyncio.gather(*(self._answer_the_last(subscriber) for subscriber in self._answering))
            await self.broker.stop()
        except (nats.errors.ConnectionReconnectingError, RuntimeError):  # uvloop's for a socket that is closed
            observe.log().warning("left while the bus was away")
            with suppress(OSError):  # what was still to be said cannot be
                await self.connection.close()

    async def _answer_the_last(self, subscriber: Any) -> None:
        """FastStream stops listening before it tells the bus so, and drops what comes in between: here in order."""
        subscription, subscriber.subscription = subscriber.subscription, None
        if subscription is None or not self.is_connected():
            return
        with suppress(nats.errors.Error, TimeoutError):  # where the bus goes away now, nobody waits for an answer
            await subscription.drain()
        subscriber.send_stream.close()
        await asyncio.wait(subscriber.tasks, timeout=self.drain_seconds)

    @property
    def connection(self) -> Client:
        connection: Client = self.broker.config.connection_state.connection
        return connection

    @property
    def js(self) -> JetStreamContext:
        stream: JetStreamContext = self.broker.config.connection_state.stream
        return stream

    @property
    def stream(self) -> PullingJetStream:
        """What pulls messages are subscribed with."""
        assert self._stream, "not connected yet"
        return self._stream

    def is_connected(self) -> bool:
        try:
            return bool(self.connection.is_connected)
        except Exception as error:
            observe.log().debug("bus not connected yet", error=repr(error))
            return False

    def pull_subscriber(self, stream: str, consumer: ConsumerConfig, workers: int) -> Any:
        """The one subscriber of a durable that the admin step made, which handles so many messages at once."""
        return self.broker.subscriber(
            "",
            stream=JStream(stream, declare=False),
            durable=consumer.durable_name,
            config=consumer,
            pull_sub=PullSub(batch_size=workers, timeout=PULL_SECONDS),
            max_workers=workers,
            inbox_prefix=f"_INBOX_{self.service}.".encode(),
            ack_policy=AckPolicy.MANUAL,
            title=f"{stream}/{consumer.durable_name}",
        )

    def rpc_subscriber(self, subject: str) -> Any:
        subscriber = self.broker.subscriber(subject, queue=self.service, max_workers=RPC_WORKERS)
        self._answering.append(subscriber)
        return subscriber

    async def check_stream(self, wanted: StreamConfig) -> None:
        """Raises Drift when the stream is missing or configured in another way."""
        try:
            info = await self.js.stream_info(wanted.name or "")
        except NotFoundError:
            raise Drift(f"stream {wanted.name} does not exist: {PROVISION}") from None
        _refuse(f"stream {wanted.name}", stream_differences(info.config, wanted))

    async def check_consumer(self, stream: str, wanted: ConsumerConfig) -> int:
        """How many pulls wait at the server for this consumer.

        Raises Drift when the consumer is missing or configured in another way.
        """
        try:
            info = await self.js.consumer_info(stream, wanted.durable_name or "")
        except NotFoundError:
            raise Drift(f"consumer {stream}/{wanted.durable_name} does not exist: {PROVISION}") from None
        _refuse(f"consumer {stream}/{wanted.durable_name}", consumer_differences(info.config, wanted))
        labels = (self.service, stream)
        observe.CONSUMER_PENDING.labels(*labels).set(info.num_pending or 0)
        observe.CONSUMER_UNACKNOWLEDGED.labels(*labels).set(info.num_ack_pending or 0)
        observe.CONSUMER_REDELIVERED.labels(*labels).set(info.num_redelivered or 0)
        return info.num_waiting or 0

    async def dead_letters(self) -> int | None:
        """How many messages this service gave up on; None while the bus cannot say."""
        try:
            info = await self.js.stream_info("DLQ", subjects_filter=dlq_subject(self.service))
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
            observe.log().debug("dead letters not counted", error=repr(error))
            return None
        return sum((info.state.subjects or {}).values())

    async def publish_together(self, messages: Sequence[tuple[str, bytes, dict[str, str]]], seconds: float) -> None:
        """Messages of one stream, as subject, body and headers: all are kept, with one sync, or none (ADR-50 of NATS).

        Raises nats.js.errors.APIError where none was kept, be it as one was known; after another error it is not known.
        """
        batch, last = new_id(), len(messages)
        for number, (subject, payload, headers) in enumerate(messages, 1):
            given = headers | {BATCH_ID: batch, BATCH_SEQUENCE: str(number)}
            if number < last:
                await self.connection.publish(subject, payload, headers=given)
        reply = await self.connection.request(subject, payload, timeout=seconds, headers=given | {BATCH_COMMIT: "1"})
        if error := json.loads(reply.data).get("error"):
            raise nats.js.errors.APIError(**error)

    async def ask(
        self,
        request: "Request[Answer]",
        context: Context,
        *,
        service: str | None = None,
        seconds: float = RPC_SECONDS,
    ) -> Answer:
        """Ask a service and wait for its answer.

        Raises the error that the service answered with, Unavailable when nobody listens, DeadlineExceeded when the
        answer does not come in time.
        """
        body = await self.ask_unread(request, context, service, seconds)
        answer: Any = request.reply_type().model_validate_json(body)
        return answer  # type: ignore[no-any-return]

    async def ask_unread(
        self, request: "Request[Any]", context: Context, service: str | None = None, seconds: float = RPC_SECONDS
    ) -> bytes:
        """The JSON of an answer, for one who only passes it on; raises as `ask` does."""
        subject = request.subject(service)
        with observe.span(f"request {subject}", SpanKind.CLIENT, context.traceparent, **{"messaging.system": "nats"}):
            headers = context.to_headers() | {"traceparent": observe.current_traceparent() or context.traceparent}
            reply = await self._request(subject, request.model_dump_json().encode(), headers, seconds)
        failpoints.reach("asked", type(request).__name__)
        return _body_of(reply)

    async def _request(self, subject: str, payload: bytes, headers: dict[str, str], seconds: float) -> Any:
        if not self.is_connected():
            raise Unavailable("the bus is not reachable now; try again")
        owner = subject.split(".")[1]
        given = {name: value for name, value in headers.items() if value}
        limit = asyncio.timeout(seconds)
        with self._denials.asking(subject, limit) as is_denied:
            try:
                async with limit:
                    return await self.connection.request(subject, payload, timeout=seconds + 1, headers=given)
            except nats.errors.NoRespondersError:
                raise Unavailable(f"the service {owner} is not running now; try again") from None
            except (TimeoutError, nats.errors.TimeoutError):
                if is_denied():
                    raise Drift(f"the bus does not let {self.service} ask {subject}: {PROVISION}") from None
                raise DeadlineExceeded(f"the service {owner} did not answer within {seconds:g} s") from None
            except (nats.errors.ConnectionClosedError, nats.errors.OutboundBufferLimitError) as error:
                raise Unavailable("the bus is not reachable now; try again") from error


def _body_of(reply: Any) -> bytes:
    if (reply.headers or {}).get(ERROR_HEADER):
        raise from_wire(_ErrorBody.model_validate_json(reply.data).model_dump())
    body: bytes = reply.data
    return body


class _ErrorBody(BaseModel):
    code: str = "internal"
    message: str | None = None
    field: str | None = None
    retry_after: int | None = None


def _refuse(what: str, differences: list[Difference]) -> None:
    if differences:
        raise Drift(f"{what}: {'; '.join(map(str, differences))}: {PROVISION}")
