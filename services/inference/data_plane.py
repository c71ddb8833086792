"""The data plane of a node: frames come in over core NATS, are read and checked, and wait for a call to Triton.

Plain nats-py: FastStream would cost about a hundred microseconds a message. No database on this path.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from itertools import chain
from typing import Any

import nats.errors
from nats.aio.subscription import Subscription

from services.inference.admission import Admission, ProjectFull
from services.inference.calls import Calls, Outputs, Waiting
from services.inference.domain import Deployment, Routing
from services.inference.engine import Triton
from services.inference.layouts import Layouts
from services.inference.merging import Key, merge_key
from services.inference.prediction_log import PredictionLog, Row, logged_as
from services.inference.replies import HERE, Replies, answer, refusal
from services.inference.resources.domain import Demand
from services.inference.response_cache import ResponseCache
from services.inference.settings import Settings
from shared import frames, observe, oip
from shared.body_store import BUS_BYTES, BodyStore
from shared.bus import settle
from shared.direct import Arrived, DirectClient
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, Unavailable
from shared.signatures import batch_size, read_request
from shared.streams import infer_subject, withdrawn_subject

QUEUE = "inference"
DRAIN_SECONDS = 10


class DataPlane:
    """Answers requests for the models that are held here, and only for those; `on_parked` hears who wants one back."""

    def __init__(
        self, triton: Triton, routing: Routing, log: PredictionLog, bodies: BodyStore, settings: Settings
    ) -> None:
        self._routing, self._log = routing, log
        self._admission = Admission(settings.limits)
        self._subscriptions: dict[tuple[str, str], tuple[Subscription, ...]] = {}
        self._connection: DirectClient | None = None
        self._is_settled = True
        self._calls = Calls(
            triton, self._on_done, self._admission, settings.calls_at_once, settings.lost_seconds, self._on_lost
        )
        self.meter = self._calls.meter
        self.on_parked: Callable[[Deployment], None] = _cannot
        self._following = asyncio.Lock()
        self._replies = Replies()
        self._cache = ResponseCache(settings.cached_models, settings.cache_bytes)
        self._bodies = bodies
        self._background: set[asyncio.Task[None]] = set()
        self._layouts: dict[str, Layouts[tuple[oip.InferRequest, Key | None]]] = {}

    def connect(self, connection: DirectClient) -> None:
        self._connection = connection
        self._replies.connect(connection)

    @property
    def has_connection(self) -> bool:
        return self._connection is not None

    def in_flight(self, name: str) -> int:
        """Requests that a version has not answered yet."""
        return self._admission.versions[name]

    def forget(self, name: str) -> None:
        """A version is loaded anew, or gone: what it was like before says nothing now."""
        self._admission.forget(name)
        self._cache.forget(name)

    def park(self, name: str) -> None:
        """A version leaves memory: its requests wait until it is back."""
        self._calls.hold(name)
        self.forget(name)

    def restore(self, name: str) -> None:
        """A version is back, or gone: nothing holds its requests up any more."""
        self._calls.release(name)

    def refuse(self, name: str, error: AimassError) -> None:
        """Whoever waits for a version waits in vain."""
        self._calls.refuse(name, error)

    def set_instances(self, name: str, count: int) -> None:
        self._calls.set_instances(name, count)

    def demand(self, name: str) -> Demand:
        """What was asked of a version since the last time that this was asked."""
        return self.meter.read(name, self._calls.capacity(name), self._calls.oldest(name))

    async def follow(self) -> None:
        """Make the subscriptions equal to the models that are held here; known to the bus on return.

        Raises Unavailable where the bus does not say so in time.
        """
        if self._connection is None or not self._connection.is_connected:
            return
        async with self._following:
            try:
                await self._follow(self._connection)
            except nats.errors.Error as error:
                raise Unavailable("the bus does not confirm what it is asked for; try again") from error
        for name in self._layouts.keys() - self._routing.wanted.keys():
            del self._layouts[name]
        self.meter.keep(set(self._routing.wanted))

    async def _follow(self, connection: DirectClient) -> None:
        models = self._routing.models()
        added = models - self._subscriptions.keys()
        for key in added:
            await self._subscribe(connection, *key)
        for key in self._subscriptions.keys() - models:
            await self._unsubscribe(connection, key)
        self._is_settled &= not added
        if not self._is_settled:
            await settle(connection)
            self._is_settled = True

    async def _unsubscribe(self, connection: DirectClient, key: tuple[str, str]) -> None:
        for subscription in self._subscriptions.pop(key):
            await connection.unlisten(subscription)

    def _on_lost(self, name: str) -> None:
        """A version does not answer: ask it no more, and let others, now, and not when the reconciler comes to it."""
        self._routing.ready -= {name}
        if name in self._routing.elsewhere:
            self._in_background(self.leave_to_others())

    async def leave_to_others(self) -> None:
        """Take nothing more for models that other nodes alone can answer for; callers of all others hear from here."""
        if self._connection is None or not self._connection.is_connected:
            return
        try:
            async with self._following:
                for key in [key for key in self._subscriptions if self._routing.is_elsewhere_alone(*key)]:
                    await self._unsubscribe(self._connection, key)
        except (nats.errors.Error, OSError) as error:
            observe.log().warning("subscriptions not ended now", error=repr(error))

    async def drain(self) -> None:
        """Take nothing new and answer what is here."""
        for subscription in chain.from_iterable(self._subscriptions.values()):
            await subscription.drain()  # type: ignore[no-untyped-call]
        self._subscriptions.clear()
        await self._drain_background()
        await self._calls.drain(DRAIN_SECONDS)
        await self._drain_background()
        await self._replies.drain()

    async def _drain_background(self) -> None:
        if self._background:
            await asyncio.wait(self._background, timeout=DRAIN_SECONDS)

    async def _subscribe(self, connection: DirectClient, project: str, model: str) -> None:
        def receive(message: Arrived) -> None:
            try:
                requests = frames.decode_requests(message.data)
            except InvalidInput as error:
                observe.log().error("frame not answered", model=model, error=error.message)
                return
            self._admit_all(project, model, message.reply, requests)

        def withdraw(message: Arrived) -> None:
            self._calls.withdraw(project, model, frames.decode_ids(message.data))

        self._subscriptions[project, model] = (
            await connection.listen(infer_subject(project, model), receive, queue=QUEUE),
            await connection.listen(withdrawn_subject(project, model), withdraw),
        )

    def _admit_all(self, project: str, model: str, subject: str, requests: Iterable[frames.Request]) -> None:
        """Let all of a message wait before the first call, so that they can share it."""
        asked = set()
        for request in requests:
            started = time.perf_counter()
            if request.flags & frames.CLAIMED:
                self._in_background(self._admit_claimed(project, model, subject, request))
                continue
            try:
                waiting = self._admit(project, model, subject, request, started)
                if (found := self._cache.find(waiting)) is not None:
                    self._on_done(waiting, found)
                    continue
                self._calls.add(waiting)
                asked.add(waiting.deployment.name)
            except Exception as error:
                self._reply(project, model, subject, request, refusal(request, error), 0, started)
        for name in asked:
            self._calls.start(name)

    async def answer(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        """The reply to a request of this node's own.

        Raises Unavailable or ProjectFull where it cannot be let in now.
        """
        started, reply = time.perf_counter(), self._replies.expect(request.prediction_id)
        try:
            waiting = self._admit(project, model, HERE, request, started)
            if (found := self._cache.find(waiting)) is not None:
                self._on_done(waiting, found)
            else:
                self._calls.add(waiting)
                self._calls.start(waiting.deployment.name)
        except (Unavailable, ProjectFull):
            reply.cancel()
            raise
        except Exception as error:
            self._reply(project, model, HERE, request, refusal(request, error), 0, started)
        try:
            return await reply
        except asyncio.CancelledError:
            self._calls.withdraw(project, model, {request.prediction_id})
            raise

    async def _admit_claimed(self, project: str, model: str, subject: str, request: frames.Request) -> None:
        """Get the body first."""
        started = time.perf_counter()
        try:
            body = await self._bodies.fetch(frames.request_claim(request.prediction_id))
        except Exception as error:
            self._reply(project, model, subject, request, refusal(request, error), 0, started)
            return
        here = request._replace(body=body, flags=request.flags & ~frames.CLAIMED)
        self._admit_all(project, model, subject, [here])

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _admit(self, project: str, model: str, subject: str, request: frames.Request, started: float) -> Waiting:
        seconds = request.deadline / 1000 - time.time()
        if seconds <= 0:
            raise DeadlineExceeded()
        deployment = self._routing.pick(project, model, request.version)
        self._admission.check(deployment, seconds)
        if deployment.name in self._routing.parked:
            self.on_parked(deployment)
        asked, key = self._read(deployment, model, request)
        if frames.is_sampled(request) or len(request.body) > BUS_BYTES:
            key = None
        return Waiting(project, model, subject, request, deployment, asked, key, batch_size(asked), started)

    def _read(self, deployment: Deployment, model: str, request: frames.Request) -> tuple[oip.InferRequest, Key | None]:
        """The request, checked against the signature; one whose header was met before is not parsed again."""
        layouts = self._layouts.setdefault(deployment.name, Layouts())
        if met := layouts.find(request.body, request.header_length):
            (bare, key), tensors = met
            return oip.InferRequest(tensors, *bare[1:]), key
        asked = read_request(request.body, request.header_length, deployment.signature, model)
        key = merge_key(asked, deployment.signature)
        layouts.keep(request.body, request.header_length, (asked._replace(inputs=()), key), asked.inputs)
        return asked, key

    def _on_done(self, waiting: Waiting, outcome: Outputs | AimassError) -> None:
        request, model = waiting.request, waiting.model
        try:
            if isinstance(outcome, AimassError):
                raise outcome
            self._cache.keep(waiting, outcome)
            reply = answer(request, waiting.asked, waiting.deployment, outcome)
        except Exception as error:
            reply = refusal(request, error)
        is_large = len(reply.body) > self._bodies.threshold
        if is_large and waiting.subject != HERE and not request.flags & frames.EVALUATION:
            self._in_background(self._reply_claimed(waiting, reply))
            return
        self._reply(waiting.project, model, waiting.subject, request, reply, waiting.rows, waiting.started)

    async def _reply_claimed(self, waiting: Waiting, reply: frames.Reply) -> None:
        """Let the body lie where the sender gets it, and drops it."""
        try:
            await self._bodies.keep(frames.reply_claim(reply.prediction_id), bytes(reply.body))
            reply = reply._replace(body=b"", is_claimed=True)
        except Exception as error:
            reply = refusal(waiting.request, error)
        project, model, subject = waiting.project, waiting.model, waiting.subject
        self._reply(project, model, subject, waiting.request, reply, waiting.rows, waiting.started)

    def _reply(
        self,
        project: str,
        model: str,
        subject: str,
        request: frames.Request,
        reply: frames.Reply,
        rows: int,
        started: float,
    ) -> None:
        self._replies.add(subject, reply)
        seconds = time.perf_counter() - started
        project, model, key_id = logged_as(project, model, request.credential)
        row = Row(
            request.prediction_id,
            int(reply.version or 0),
            reply.status,
            int(seconds * 1e6),
            rows if reply.status == 200 else 0,
            key_id,
            request.traceparent[3:35],
            bool(request.flags & frames.EVALUATION),
            time.time(),
        )
        self._log.add(project, model, row, seconds)


def _cannot(deployment: Deployment) -> None:
    raise Unavailable(f"version {deployment.version} of model '{deployment.model}' is not in memory now; try again")
