"""The data plane of a node: frames come in over core NATS, are read and checked, and wait for a call to Triton.

Plain nats-py: FastStream would cost about a hundred microseconds a message. No database on this path.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import chain
from typing import Any

import nats.errors
from nats.aio.subscription import Subscription

from services.inference.admission import Admission, ProjectFull
from services.inference.calls import Calls, Outputs, Waiting
from services.inference.domain import Deployment, Routing
from services.inference.engine import Triton
from services.inference.layouts import Layouts
from services.inference.merging import Key, apart, merge_key
from services.inference.prediction_log import PredictionLog, Rows, logged_as
from services.inference.replies import HERE, Origin, Replies, answer, is_shared, refusal
from services.inference.resources.domain import Demand
from services.inference.response_cache import ResponseCache
from services.inference.settings import Settings
from shared import frames, observe, oip
from shared.body_pool import Place, Pools
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
        self,
        triton: Triton,
        routing: Routing,
        log: PredictionLog,
        bodies: BodyStore,
        settings: Settings,
        pools: Pools | None = None,
    ) -> None:
        self._routing, self._log, self._pools = routing, log, pools or Pools()
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
        self._layouts: defaultdict[str, Layouts[tuple[oip.InferRequest, Key | None]]] = defaultdict(Layouts)

    def connect(self, connection: DirectClient) -> None:
        self._connection = connection
        self._replies.connect(connection)

    @property
    def has_connection(self) -> bool:
        return self._connection is not None

    def in_flight(self, name: str) -> int:
        """Requests that a version has not answered yet."""
        return self._admission.unanswered(name)

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
        self.meter.keep(self._routing.wanted.keys())
        self._admission.keep(self._routing.wanted.keys())

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
                groups = frames.decode_asked(message.data)
            except InvalidInput as error:
                observe.log().error("frame not answered", model=model, error=error.message)
                return
            self._admit_all(Origin.of(project, model, message.reply), groups)

        def withdraw(message: Arrived) -> None:
            self._calls.withdraw(project, model, frames.decode_ids(message.data))

        self._subscriptions[project, model] = (
            await connection.listen(infer_subject(project, model), receive, queue=QUEUE),
            await connection.listen(withdrawn_subject(project, model), withdraw),
        )

    def _admit_all(self, origin: Origin, groups: Iterable[frames.Asked]) -> None:
        """Let all of a message wait before the first call, so that they can share it."""
        started, now = time.perf_counter(), time.time()
        for name in {name for group in groups for name in self._admit(origin, group, started, now)}:
            self._calls.start(name)

    def _admit(self, origin: Origin, requests: frames.Asked, started: float, now: float) -> Iterator[str]:
        """Let requests wait, and name the versions that have more to do; where all cannot, each is looked at alone."""
        if requests.flags & frames.CLAIMED:
            self._in_background(self._admit_claimed(origin, requests))
            return
        if requests.flags & frames.POOLED:
            yield from self._admit_pooled(origin, requests, started, now)
            return
        try:
            waiting = self._waiting(origin, requests, started, now)
            if waiting is not None:
                yield from self._enter(waiting)
                return
        except Exception as error:
            if len(requests.ids) == 1:
                self._reply(origin, requests, refusal(requests.ids, error), 0, started)
                return
        for one in requests.each():
            yield from self._admit(origin, one, started, now)

    def _enter(self, waiting: Waiting) -> Iterator[str]:
        if (found := self._cache.find(waiting)) is not None:
            self._on_done(waiting, found)
            return
        self._calls.add(waiting)
        yield waiting.deployment.name

    async def answer(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        """The reply to a request of this node's own.

        Raises Unavailable or ProjectFull where it cannot be let in now.
        """
        started, reply = time.perf_counter(), self._replies.expect(request.prediction_id)
        origin, alone = Origin.of(project, model, HERE), frames.asked(request)
        try:
            waiting = self._waiting(origin, alone, started, time.time())
            assert waiting is not None
            for name in self._enter(waiting):
                self._calls.start(name)
        except (Unavailable, ProjectFull):
            reply.cancel()
            raise
        except Exception as error:
            self._reply(origin, alone, refusal(alone.ids, error), 0, started)
        try:
            return await reply
        except asyncio.CancelledError:
            self._calls.withdraw(project, model, {request.prediction_id})
            raise

    def _admit_pooled(self, origin: Origin, requests: frames.Asked, started: float, now: float) -> Iterator[str]:
        """The sender keeps the body elsewhere if it is in memory that is not here."""
        try:
            place = Place.decode(requests.data)
            body = self._pools.body(place)
        except AimassError as error:
            self._replies.add(origin, refusal(requests.ids, error))
            return
        flags = requests.flags & ~frames.POOLED
        here = requests._replace(size=len(body), data=body, flags=flags, place=place)
        yield from self._admit(origin, here, started, now)

    async def _admit_claimed(self, origin: Origin, requests: frames.Asked) -> None:
        """Get the body first."""
        started = time.perf_counter()
        try:
            body = await self._bodies.fetch(frames.request_claim(requests.ids[0]))
        except Exception as error:
            self._reply(origin, requests, refusal(requests.ids, error), 0, started)
            return
        here = requests._replace(size=len(body), data=body, flags=requests.flags & ~frames.CLAIMED)
        self._admit_all(origin, [here])

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _waiting(self, origin: Origin, requests: frames.Asked, started: float, now: float) -> Waiting | None:
        """What is to wait for a call; None where each of these requests must be looked at by itself."""
        seconds = min(requests.deadlines) / 1000 - now
        if seconds <= 0:
            raise DeadlineExceeded()
        deployment = self._routing.pick(origin.project, origin.model, requests.version)
        self._admission.check(deployment, seconds, len(requests.ids))
        if deployment.name in self._routing.parked:
            self.on_parked(deployment)
        if len(requests.ids) > 1:
            return self._together(origin, requests, deployment, started)
        asked, key = self._read(deployment, origin.model, requests)
        if requests.place:
            key = apart(key)
        elif requests.size > BUS_BYTES:
            key = None
        return Waiting(origin, requests, deployment, asked, key, batch_size(asked), started)

    def _together(
        self, origin: Origin, requests: frames.Asked, deployment: Deployment, started: float
    ) -> Waiting | None:
        """Requests whose header was met before, and that can share a call."""
        if self._cache.takes(origin, requests):
            return None
        layouts = self._layouts[deployment.name]
        met = layouts.find_alike(requests.start, requests.size, requests.data, len(requests.ids))
        if met is None or met[0][1] is None or not met[1][0].shape[0]:
            return None
        (bare, key), tensors = met
        asked = oip.InferRequest(tensors, *bare[1:])
        return Waiting(origin, requests, deployment, asked, key, batch_size(asked), started)

    def _read(self, deployment: Deployment, model: str, one: frames.Asked) -> tuple[oip.InferRequest, Key | None]:
        """The request, checked against the signature; one whose header was met before is not parsed again."""
        layouts, body = self._layouts[deployment.name], one.body
        if met := layouts.find(body, one.header_length):
            (bare, key), tensors = met
            return oip.InferRequest(tensors, *bare[1:]), key
        asked = read_request(body, one.header_length, deployment.signature, model)
        key = merge_key(asked, deployment.signature)
        layouts.keep(body, one.header_length, (asked._replace(inputs=()), key), asked.inputs)
        return asked, key

    def _on_done(self, waiting: Waiting, outcome: Outputs | AimassError) -> None:
        try:
            if isinstance(outcome, AimassError):
                raise outcome
            if waiting.requests.place and not self._pools.is_held(waiting.requests.place):
                raise Unavailable("the request was given up before it was answered")
            if waiting.count > 1 and not is_shared(waiting.asked, outcome):
                for one, part in waiting.parted(outcome):
                    self._on_done(one, part)
                return
            self._cache.keep(waiting, outcome)
            answered = answer(waiting.requests, waiting.asked, waiting.deployment, outcome)
        except Exception as error:
            answered = refusal(waiting.requests.ids, error)
        self._send(waiting, answered)

    def _send(self, waiting: Waiting, answered: frames.Answered) -> None:
        origin, requests, rows = waiting.origin, waiting.requests, waiting.rows // waiting.count
        is_large = answered.body_length > self._bodies.threshold
        if is_large and origin.subject != HERE and not requests.flags & frames.EVALUATION:
            for reply in answered.replies():
                self._in_background(self._reply_claimed(waiting, reply))
            return
        self._reply(origin, requests, answered, rows, waiting.started)

    async def _reply_claimed(self, waiting: Waiting, reply: frames.Reply) -> None:
        """Let the body lie where the sender gets it, and drops it."""
        requests, rows = waiting.requests, waiting.rows // waiting.count
        try:
            await self._bodies.keep(frames.reply_claim(reply.prediction_id), bytes(reply.body))
            answered = frames.answered(reply._replace(body=b"", is_claimed=True))
        except Exception as error:
            answered = refusal((reply.prediction_id,), error)
        self._reply(waiting.origin, requests, answered, rows, waiting.started)

    def _reply(
        self, origin: Origin, requests: frames.Asked, answered: frames.Answered, rows: int, started: float
    ) -> None:
        """Answer some of these requests, or all, each of so many rows."""
        self._replies.add(origin, answered)
        project, model, key_id = logged_as(origin.project, origin.model, requests.credential)
        logged = Rows(
            answered.ids,
            requests.traces_of(answered.ids),
            int(answered.version or 0),
            answered.status,
            time.perf_counter() - started,
            rows if answered.status == 200 else 0,
            key_id,
            bool(requests.flags & frames.EVALUATION),
            time.time(),
        )
        self._log.add(project, model, logged)


def _cannot(deployment: Deployment) -> None:
    raise Unavailable(f"version {deployment.version} of model '{deployment.model}' is not in memory now; try again")
