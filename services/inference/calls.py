"""Calls to Triton: what waits for a version while a call is under way goes into the next one."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter

from opentelemetry.trace import Span, SpanKind

from services.inference import merging
from services.inference.admission import OPEN_SECONDS, Admission
from services.inference.answers import Crashed
from services.inference.domain import Deployment
from services.inference.engine import Overdue, Triton
from services.inference.replies import Origin, unforeseen
from services.inference.resources.meter import Meter
from shared import frames, observe, oip
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, ModelFailed, Unavailable, Withdrawn
from shared.signatures import MAX_BATCH
from shared.tensors import Tensor

Outputs = tuple[Tensor, ...]
HELD_SECONDS = 0.05


@dataclass(slots=True)
class Waiting:
    """Requests that are alike, and that a version shall answer; `key` says with which others they may share a call.

    `asked` has the `rows` of all of them. `cache_key` is the place of the answer in the response cache, where one by
    itself wants it.
    """

    origin: Origin
    requests: frames.Asked
    deployment: Deployment
    asked: oip.InferRequest
    key: merging.Key | None
    rows: int
    started: float
    cache_key: tuple[str, bytes] | None = None

    @property
    def count(self) -> int:
        return len(self.requests.ids)

    @property
    def kind(self) -> merging.Kind:
        return merging.Kind(self.key, len(self.requests.ids), self.rows)

    def seconds(self) -> float:
        """The time that is left for the last answer."""
        return max(self.requests.deadlines) / 1000 - time.time()

    def is_late(self) -> bool:
        """Whether it is over for any."""
        return min(self.requests.deadlines) / 1000 <= time.time()

    def cut(self, count: int) -> "tuple[Waiting, Waiting]":
        """The first ones, and the others."""
        return self.some(range(count)), self.some(range(count, self.count))

    def each(self) -> "list[Waiting]":
        return [self] if self.count == 1 else [self.some(range(place, place + 1)) for place in range(self.count)]

    def parted(self, outputs: "Outputs") -> "Iterator[tuple[Waiting, Outputs]]":
        """Each with its part of the outputs."""
        parts = merging.split(oip.InferReply("", "", outputs), [self.rows // self.count] * self.count)
        return zip(self.each(), parts, strict=True)

    def some(self, places: range) -> "Waiting":
        """Those at these places, which follow each other; a call for several has a first axis of requests."""
        rows = self.rows // self.count
        inputs = merging.rows_of(self.asked.inputs, rows * places.start, rows * places.stop)
        asked, requests = self.asked._replace(inputs=inputs), self.requests.some(places)
        return replace(self, requests=requests, asked=asked, rows=rows * len(places))


KIND = attrgetter("kind")
Done = Callable[[Waiting, "Outputs | AimassError"], None]
Lost = Callable[[str], None]


class Calls:
    """A queue for each version, and at most `at_once` calls of each of its instances under way.

    `done` hears of every request once.

    A call whose callers have left is waited for, so that Triton has no more to do than what is under way. It is lost
    when the connection breaks, or no answer comes for another `lost_seconds`; `lost` hears of a version that does not
    answer.
    """

    def __init__(
        self, triton: Triton, done: Done, admission: Admission, at_once: int, lost_seconds: float, lost: Lost
    ) -> None:
        self._triton, self._done, self._admission, self._lost = triton, done, admission, lost
        self._at_once, self._lost_seconds = at_once, lost_seconds
        self._queues: dict[str, deque[Waiting]] = defaultdict(deque)
        self._under_way: Counter[str] = Counter()
        self._calls: set[asyncio.Task[None]] = set()
        self._instances: dict[str, int] = {}
        self._held: set[str] = set()
        self.meter = Meter()

    def add(self, waiting: Waiting) -> None:
        self._queues[waiting.deployment.name].append(waiting)
        self._admission.enter(waiting.deployment, waiting.count)

    def start(self, name: str) -> None:
        """Begin as many calls as may be under way."""
        if name in self._held:
            return
        queue, capacity = self._queues[name], self.capacity(name)
        while queue and self._under_way[name] < capacity:
            self.meter.on_begun(name, queue[0].started)
            batch = merging.take(queue, KIND, Waiting.cut, MAX_BATCH)
            self._under_way[name] += 1
            call = asyncio.create_task(self._run(name, batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        if not queue:
            del self._queues[name]

    def capacity(self, name: str) -> int:
        """How many calls of a version may be under way."""
        return self._at_once * self._instances.get(name, 1)

    def set_instances(self, name: str, count: int) -> None:
        """One is what a version has of which nothing is known."""
        self._instances.pop(name, None)
        if count > 1:
            self._instances[name] = count
        self._admission.set_instances(name, count)
        self.start(name)

    def oldest(self, name: str) -> float | None:
        """When the request came that waits longest for a call."""
        queue = self._queues.get(name)
        return queue[0].started if queue else None

    def hold(self, name: str) -> None:
        """Begin no call until the version is released."""
        self._held.add(name)

    def release(self, name: str) -> None:
        self._held.discard(name)
        self.start(name)

    def refuse(self, name: str, error: AimassError) -> None:
        """Let nobody wait any longer."""
        for waiting in self._queues.pop(name, ()):
            self._end(waiting, error)

    def withdraw(self, project: str, model: str, ids: Set[bytes]) -> None:
        """Let those go that wait for a call; what is under way stays."""
        for name, queue in list(self._queues.items()):
            if queue[0].origin[:2] == (project, model):
                self._queues[name] = deque(chain.from_iterable(self._left(waiting, ids) for waiting in queue))
        self._queues = defaultdict(deque, {name: queue for name, queue in self._queues.items() if queue})

    def _left(self, waiting: Waiting, ids: Set[bytes]) -> list[Waiting]:
        """What is left of requests without these."""
        if ids.isdisjoint(waiting.requests.ids):
            return [waiting]
        gone = [one for one in waiting.each() if one.requests.ids[0] in ids]
        for one in gone:
            self._end(one, Withdrawn())
        return [one for one in waiting.each() if one.requests.ids[0] not in ids]

    async def drain(self, seconds: float) -> None:
        """Wait until all that is here is answered."""
        deadline = time.monotonic() + seconds
        while (self._calls or self._queues) and time.monotonic() < deadline:
            if self._calls:
                await asyncio.wait(self._calls, timeout=deadline - time.monotonic())
            else:
                await asyncio.sleep(HELD_SECONDS)

    async def _run(self, name: str, batch: list[Waiting]) -> None:
        try:
            await self._call(self._in_time(batch))
        finally:
            self._under_way[name] -= 1
            self.meter.on_ended(name)
            self.start(name)

    def _in_time(self, batch: list[Waiting]) -> list[Waiting]:
        """Those whose callers still wait."""
        if not any(waiting.is_late() for waiting in batch):
            return batch
        found = []
        for one in chain.from_iterable(waiting.each() for waiting in batch):
            if one.is_late():
                self._end(one, DeadlineExceeded())
            else:
                found.append(one)
        return found

    async def _call(self, batch: list[Waiting]) -> None:
        """Ask for all in one call; where that is refused, for each alone, so that no one pays for another's request."""
        if not batch:
            return
        started = time.monotonic()
        try:
            outputs = await self._watched(batch)
        except (InvalidInput, ModelFailed) as error:
            if _count(batch) == 1:
                self._end(batch[0], error)
            else:
                for one in chain.from_iterable(waiting.each() for waiting in batch):
                    await self._call(self._in_time([one]))
        except AimassError as error:
            for waiting in batch:
                self._end(waiting, error)
            if isinstance(error, Overdue):
                await self._outlast(batch, started, error.rest)
        except Exception as error:
            told = unforeseen(error)
            for waiting in batch:
                self._end(waiting, told)
        else:
            for waiting, found in zip(batch, outputs, strict=True):
                self._end(waiting, found)

    def _end(self, waiting: Waiting, outcome: Outputs | AimassError) -> None:
        self._admission.leave(waiting.deployment, waiting.count)
        self._done(waiting, outcome)

    async def _watched(self, batch: Sequence[Waiting]) -> list[Outputs]:
        """The answer, and what its time or its absence says of the version."""
        deployment, started = batch[0].deployment, time.monotonic()
        try:
            found = await self._infer(batch)
        except (Unavailable, DeadlineExceeded) as error:
            if isinstance(error, Crashed):
                self._let_go(deployment.name, error)
            elif isinstance(error, Unavailable):
                self._on_lost(deployment)
            raise
        except (InvalidInput, ModelFailed):
            self._admission.on_answered(deployment, time.monotonic() - started, _count(batch))
            raise
        self._admission.on_answered(deployment, time.monotonic() - started, _count(batch))
        return found

    async def _outlast(self, batch: Sequence[Waiting], started: float, rest: "asyncio.Task[oip.InferReply]") -> None:
        """Ask no more of a version while it works on what nobody waits for; its process may be given up over that."""
        deployment = batch[0].deployment
        try:
            async with asyncio.timeout(self._lost_seconds):
                await rest
        except Crashed as error:
            self._let_go(deployment.name, error)
        except (TimeoutError, Unavailable):
            self._on_lost(deployment)
        except (InvalidInput, ModelFailed):  # an answer as well, which nobody is there to hear
            self._admission.on_answered(deployment, time.monotonic() - started, _count(batch))
        else:
            self._admission.on_answered(deployment, time.monotonic() - started, _count(batch))

    def _on_lost(self, deployment: Deployment) -> None:
        """Once calls were lost in a row nobody waits any longer, and the version is to be loaded anew."""
        if not self._admission.on_lost(deployment):
            return
        name = deployment.name
        observe.log().warning("a version does not answer", model=name)
        self._triton.suspect(name)
        self._let_go(name, Unavailable("the model does not answer now; try again", retry_after=int(OPEN_SECONDS)))

    def _let_go(self, name: str, error: AimassError) -> None:
        """Nobody waits for what cannot answer."""
        self._lost(name)
        self.refuse(name, error)

    async def _infer(self, batch: Sequence[Waiting]) -> list[Outputs]:
        """The answer; whoever is recorded among them has spans of the call that it shares."""
        with ExitStack() as spans:
            for waiting in batch:
                if frames.is_sampled(waiting.requests.traces[0]):
                    for span in _spans(waiting):
                        spans.enter_context(span)
            return await self._ask(batch)

    async def _ask(self, batch: Sequence[Waiting]) -> list[Outputs]:
        seconds = max(waiting.seconds() for waiting in batch)
        if batch[0].requests.place and len(batch) > 1:
            return await _all([self._ask_at_once([waiting], seconds) for waiting in batch])
        return await self._ask_at_once(batch, seconds)

    async def _ask_at_once(self, batch: Sequence[Waiting], seconds: float) -> list[Outputs]:
        deployment = batch[0].deployment
        asked = merging.join([waiting.asked for waiting in batch])
        reply = await self._triton.infer(deployment.name, asked, deployment.signature, seconds)
        return merging.split(reply, [waiting.rows for waiting in batch])


async def _all(asking: Iterable[Awaitable[list[Outputs]]]) -> list[Outputs]:
    """What all have found; raises what one has met once none is under way."""
    found = await asyncio.gather(*asking, return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return [outputs for some in found if not isinstance(some, BaseException) for outputs in some]


def _spans(waiting: Waiting) -> Iterator[AbstractContextManager[Span]]:
    model, trace = waiting.origin.model, waiting.requests.traces[0]
    yield observe.span(f"infer {model}", SpanKind.SERVER, trace, model=model)
    yield observe.span("triton infer", SpanKind.CLIENT, model=waiting.deployment.name)


def _count(batch: Sequence[Waiting]) -> int:
    """How many requests there are."""
    return sum([waiting.count for waiting in batch])
