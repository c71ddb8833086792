"""The short way of a prediction: one that is small, here whole, and asked like others before, without ASGI and a task.

What is out of the ordinary takes the way of `protocol`; on both the same is checked, counted, said and answered.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, NamedTuple

import uuid_utils
from starlette.types import Scope

from services.gateway import metrics
from services.gateway.access import Gatekeeper
from services.gateway.bodies import never, replayed
from services.gateway.limits.addresses import UNKNOWN
from services.gateway.open_inference.answers import answer_of
from services.gateway.open_inference.bodies import CONTENT_ENCODING, CONTENT_LENGTH, header_length_of
from services.gateway.open_inference.compression import WORTH_IT
from services.gateway.open_inference.data_plane import DataPlane, NobodyServes, Outcome, Waiting
from services.gateway.open_inference.deferral import PREFER
from services.gateway.open_inference.protocol import (
    NOT_TAKEN,
    Answer,
    Call,
    Headers,
    InferenceProtocol,
    ProtocolRoute,
    error_answer,
    failed,
    split,
)
from services.gateway.open_inference.routes import ACCEPT_ENCODING, InferenceRoutes, overdue
from shared import frames, observe
from shared.errors import AimassError

LONGEST_HEAD: Final = 2048
LARGEST_BODY: Final = 64 * 1024
KEPT_HEADS: Final = 1024
AUTHORIZATION: Final = b"authorization"
METHOD: Final = "POST"
# Others do more than is done here, or differ from one request to the next.
UNUSUAL: Final = frozenset(
    (PREFER, CONTENT_ENCODING, b"traceparent", b"origin", b"expect", b"upgrade", b"transfer-encoding")
)


class Known(NamedTuple):
    """A head that was met before, and all that it says by itself.

    `key` is the entry of the API key that it shows; the key itself is not kept.
    """

    lines: Headers
    headers: dict[bytes, bytes]
    template: str
    model: str
    version: str
    key: str
    route: ProtocolRoute
    seconds: float | None
    header_length: int | None
    size: int


class Passage:
    """A prediction on its way. A connection has it where uvicorn has the cycle of a request, and asks it the same."""

    __slots__ = (
        "answered",
        "call",
        "keep_alive",
        "known",
        "response_complete",
        "seconds",
        "started",
        "task",
        "waiting",
    )

    def __init__(self, known: Known, call: Call, started: float, answered: "Answered") -> None:
        self.known, self.call, self.started, self.answered = known, call, started, answered
        self.seconds = 0.0
        self.waiting: Waiting | None = None
        self.task: asyncio.Task[None] | None = None
        self.response_complete, self.keep_alive = False, True


Answered = Callable[[Passage, Answer], None]


class Lane:
    """Knows the heads that were met, by their digests: they hold secrets."""

    def __init__(
        self, protocol: InferenceProtocol, routes: InferenceRoutes, plane: DataPlane, gatekeeper: Gatekeeper
    ) -> None:
        self._protocol, self._routes, self._plane, self._gatekeeper = protocol, routes, plane, gatekeeper
        self._heads: dict[bytes, Known | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, digest: bytes) -> Known | None:
        return self._heads.get(digest)

    def learn(self, digest: bytes, scope: Scope, size: int) -> None:
        """Remember the head of a request with a body of this size, at the second time that it comes."""
        known = self._known(scope, size)
        if known is None:
            return
        if len(self._heads) >= KEPT_HEADS:
            self._heads.clear()
        self._heads[digest] = known if digest in self._heads else None

    def _known(self, scope: Scope, size: int) -> Known | None:
        """None for what shall take the other way."""
        headers = dict(scope["headers"])
        template, model, version = split(scope["path"])
        route = self._protocol.routes.get((scope["method"], template))
        if route is None or not route.predicts or not UNUSUAL.isdisjoint(headers):
            return None
        if size > LARGEST_BODY or scope["http_version"] != "1.1" or headers.get(CONTENT_LENGTH) != b"%d" % size:
            return None
        try:
            key = self._gatekeeper.key_name(headers)
            seconds, header_length = self._routes.given_seconds(headers), header_length_of(headers)
        except AimassError:
            return None
        if not key:
            return None
        lines = [line for line in scope["headers"] if line[0] != AUTHORIZATION]
        headers.pop(AUTHORIZATION)
        return Known(lines, headers, template, model, version, key, route, seconds, header_length, size)

    def open(self, known: Known, peer: str, answered: Answered) -> Passage | None:
        """A way for a prediction, whose answer is told once; None where it shall take the other one."""
        principal = self._gatekeeper.owner(known.key)
        if principal is None:
            return None
        address = self._protocol.limits.origins.seen(peer or UNKNOWN, known.lines)
        call = Call(never, known.headers, known.template, known.model, known.version, "", True, principal)
        call.address, call.is_identified = address, True
        return Passage(known, call, time.perf_counter(), answered)

    def send(self, passage: Passage, body: bytes) -> None:
        """Let a prediction in, and send it."""
        call = passage.call
        call.prediction_id = uuid_utils.uuid7().bytes
        call.traceparent, is_recorded = observe.begun("", call.prediction_id)
        try:
            if is_recorded:
                self._by_task(passage, self._recorded(passage, body))
            else:
                self._send(passage, call, body)
        except TimeoutError:
            self._end(passage, error_answer(overdue(passage.seconds)))
        except Exception as error:
            self._end(passage, failed(error, call))

    async def _recorded(self, passage: Passage, body: bytes) -> Answer:
        """As on the other way, which is let in again, and brings what its limits say."""
        call = passage.call
        call.receive = replayed(body, never)
        answer = await self._protocol.recorded(passage.known.route, call)
        call.ticket = None
        return answer

    def _send(self, passage: Passage, call: Call, body: bytes) -> None:
        known, limits = passage.known, self._protocol.limits
        if (ticket := limits.enter(call.principal, call.address)) is not None:
            call.ticket = ticket
            if ticket.waits:
                call.receive = replayed(body, never)
                return self._by_task(passage, self._protocol.in_turn(ticket, known.route, call, METHOD))
            limits.check(ticket)
        self._protocol.permit(known.route, call)
        request, passage.seconds = self._routes.request_of(call, body, known.header_length, known.seconds)
        ended = partial(self._on_outcome, passage)
        passage.waiting = self._plane.begin(call.project, call.model, request, passage.seconds, ended)
        return None

    def _on_outcome(self, passage: Passage, outcome: Outcome) -> None:
        if isinstance(outcome, frames.Reply):
            packs = len(outcome.body) >= WORTH_IT and ACCEPT_ENCODING in passage.known.headers
            if packs or outcome.is_claimed:
                self._by_task(passage, self._routes.answer_to(passage.call, outcome))
            else:
                self._end(passage, answer_of(outcome))
        elif isinstance(outcome, NobodyServes):
            self._by_task(passage, self._routes.nobody(passage.call))
        else:
            error = outcome if isinstance(outcome, AimassError) else overdue(passage.seconds)
            self._end(passage, error_answer(error))

    def _by_task(self, passage: Passage, work: Coroutine[Any, Any, Answer]) -> None:
        """What cannot be said at once."""
        passage.task = task = asyncio.create_task(self._work(passage, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, passage: Passage, work: Coroutine[Any, Any, Answer]) -> None:
        try:
            answer = await work
        except Exception as error:
            answer = failed(error, passage.call)
        self._end(passage, answer)

    def _end(self, passage: Passage, answer: Answer) -> None:
        passage.waiting = passage.task = None  # they name it as well: without a circle it is freed at once
        self._protocol.finish(passage.call, answer, passage.started)
        passage.answered(passage, answer)
        self._observe(passage, answer.status)

    def leave(self, passage: Passage) -> None:
        """The client has gone away."""
        if passage.task is not None:
            passage.task.cancel()
        elif passage.waiting is not None:
            self._plane.give_up(passage.waiting)
        self._observe(passage, NOT_TAKEN.status)

    def _observe(self, passage: Passage, status: int) -> None:
        spent = time.perf_counter() - passage.started
        metrics.HTTP_SECONDS.observe((passage.known.template, METHOD, status), spent)
