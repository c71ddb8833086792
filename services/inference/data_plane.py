"""The data plane of a node: frames come in over core NATS, go to Triton one by one, and are answered.

Plain nats-py: FastStream would cost about a hundred microseconds a message. No database on this path.
"""

import asyncio
import json
import time
import uuid
from collections import Counter
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from opentelemetry.trace import SpanKind

from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.prediction_log import PredictionLog
from shared import frames, observe, oip
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, Unavailable
from shared.events.common import Signature
from shared.signatures import batch_size, validate
from shared.streams import infer_subject

QUEUE = "inference"
FLUSH_SECONDS = 2
SAMPLED = "01"


class DataPlane:
    """Answers requests for the models that are ready here, and only for those."""

    def __init__(self, triton: Triton, routing: Routing, log: PredictionLog, max_waiting: int) -> None:
        self._triton, self._routing, self._log = triton, routing, log
        self._max_waiting = max_waiting
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._connection: Client | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.in_flight: Counter[str] = Counter()

    def connect(self, connection: Client) -> None:
        self._connection = connection

    async def follow(self) -> None:
        """Make the subscriptions equal to the models that are ready here; known to the bus on return."""
        if self._connection is None or not self._connection.is_connected:
            return
        ready = self._routing.models()
        changed = ready ^ self._subscriptions.keys()
        for key in changed - self._subscriptions.keys():
            await self._subscribe(self._connection, *key)
        for key in changed - ready:
            await self._subscriptions.pop(key).unsubscribe()
        if changed:
            await self._connection.flush(FLUSH_SECONDS)

    async def drain(self) -> None:
        """Take nothing new and answer what is here."""
        for subscription in self._subscriptions.values():
            await subscription.drain()  # type: ignore[no-untyped-call]
        self._subscriptions.clear()
        if self._answering:
            await asyncio.wait(self._answering, timeout=10)

    async def _subscribe(self, connection: Client, project: str, model: str) -> None:
        async def receive(message: Msg) -> None:
            task = asyncio.create_task(self._answer(project, model, message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

        subject = infer_subject(project, model)
        self._subscriptions[project, model] = await connection.subscribe(subject, queue=QUEUE, cb=receive)

    async def _answer(self, project: str, model: str, message: Msg) -> None:
        try:
            requests = frames.decode_requests(message.data)
            replies = [await self._answer_one(project, model, request) for request in requests]
            await message.respond(frames.encode_replies(replies))
        except Exception as error:
            observe.log().error("frame not answered", model=model, error=repr(error))

    async def _answer_one(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        if not request.traceparent.endswith(SAMPLED):
            return await self._measured(project, model, request)
        with observe.span(f"infer {model}", SpanKind.SERVER, request.traceparent, model=model):
            return await self._measured(project, model, request)

    async def _measured(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        started = time.perf_counter()
        rows = 0
        try:
            reply, rows = await self._infer(project, model, request)
        except AimassError as error:
            reply = _refusal(request, error)
        except Exception as error:
            observe.log().error("inference failed", model=model, exc_info=error)
            reply = _refusal(request, AimassError("inference failed; the log of the service says more"))
        self._note(project, model, request, reply, rows, time.perf_counter() - started)
        return reply

    async def _infer(self, project: str, model: str, request: frames.Request) -> tuple[frames.Reply, int]:
        seconds = request.deadline / 1000 - time.time()
        if seconds <= 0:
            raise DeadlineExceeded()
        if len(self._answering) > self._max_waiting:
            raise Unavailable("too many requests wait here; try again")
        deployment = self._routing.pick(project, model, request.version)
        asked = oip.parse_request(request.body, request.header_length)
        validate(asked, deployment.signature, model)
        self.in_flight[deployment.name] += 1
        try:
            answer = await self._ask(deployment.name, asked, deployment.signature, seconds, request.traceparent)
        finally:
            self.in_flight[deployment.name] -= 1
        parameters = {"prediction_id": str(uuid.UUID(bytes=request.prediction_id))}
        named = answer._replace(model_name=model, model_version=str(deployment.version), parameters=parameters)
        body, header_length = oip.encode_reply(named, asked)
        version = str(deployment.version)
        return frames.Reply(request.prediction_id, 200, body, version, header_length), batch_size(asked)

    async def _ask(
        self, name: str, asked: oip.InferRequest, signature: Signature, seconds: float, trace: str
    ) -> oip.InferReply:
        if not trace.endswith(SAMPLED):
            return await self._triton.infer(name, asked, signature, seconds)
        with observe.span("triton infer", SpanKind.CLIENT, model=name):
            return await self._triton.infer(name, asked, signature, seconds)

    def _note(
        self, project: str, model: str, request: frames.Request, reply: frames.Reply, rows: int, seconds: float
    ) -> None:
        row = {
            "prediction_id": str(uuid.UUID(bytes=request.prediction_id)),
            "version": int(reply.version or 0),
            "status": reply.status,
            "latency_us": int(seconds * 1e6),
            "batch": rows,
            "key_id": request.credential,
            "trace_id": request.traceparent[3:35],
            "evaluation": bool(request.flags & frames.EVALUATION),
            "at": datetime.now(UTC),
        }
        self._log.add(project, model, row, seconds)


def _refusal(request: frames.Request, error: AimassError) -> frames.Reply:
    """Flat error bodies, as the Open Inference Protocol has them."""
    status = 400 if isinstance(error, InvalidInput) else error.status
    body = json.dumps({"error": error.message}).encode()
    return frames.Reply(request.prediction_id, status, body, retry_after=error.retry_after)
