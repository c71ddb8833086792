"""The gateway's side of the data plane: requests of one turn of the loop share a frame; replies come as they are done.

It has a connection of its own. A reply is known by its prediction id, whatever message brings it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import nats.errors

from services.gateway import metrics
from shared import frames, observe
from shared.direct import Arrived, DirectClient
from shared.errors import AimassError, InvalidInput, Unavailable
from shared.names import new_id
from shared.streams import infer_subject, inferred_subject, withdrawn_subject

TICKS = 100
UNREACHABLE = "the bus is not reachable now; try again"
Connect = Callable[..., Awaitable[DirectClient]]


class NobodyServes(Unavailable):
    """Nobody serves this model now."""

    code = "nobody_serves"


Outcome = frames.Reply | AimassError | TimeoutError
Ended = Callable[[Outcome], None]


@dataclass(slots=True, eq=False)
class Waiting:
    """A request on its way, and the number of the message that carries it, if it has left.

    `ended` hears once what came of it, unless it is given up; `together` are those whose time is over with its own.
    """

    project: str
    model: str
    request: frames.Request
    ended: Ended
    together: "set[Waiting]"
    reply: "asyncio.Future[frames.Reply] | None" = None
    message: str = ""
    is_over: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits; who is cancelled is told only in the next turn."""
        return not self.is_over and (self.reply is None or not self.reply.done())


class Alarms:
    """One timer for all that are to end within the same hundredth of a second: one for each request costs more."""

    def __init__(self, ring: Callable[[Waiting], None]) -> None:
        self._ring_for = ring
        self._due: dict[int, set[Waiting]] = {}

    def after(self, seconds: float, loop: asyncio.AbstractEventLoop) -> set[Waiting]:
        """Who is in this set after these seconds, and a little, has waited too long."""
        moment = math.ceil((loop.time() + seconds) * TICKS)
        together = self._due.get(moment)
        if together is None:
            together = self._due[moment] = set()
            loop.call_at(moment / TICKS, self._ring, moment)
        return together

    def _ring(self, moment: int) -> None:
        for waiting in list(self._due.pop(moment)):
            self._ring_for(waiting)


class DataPlane:
    """Sends a request to whoever serves its model and waits for the reply; `unwanted` hears of one that is late."""

    def __init__(
        self, connect: Connect, max_in_flight: int, unwanted: Callable[[frames.Reply], None] = lambda _: None
    ) -> None:
        self._connect, self._unwanted = connect, unwanted
        self._max_in_flight = max_in_flight
        self._connection: DirectClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarms = Alarms(lambda waiting: self._end(waiting, TimeoutError()))
        self._inbox = ""
        self._numbers = count()
        self._waiting: dict[bytes, Waiting] = {}
        self._unsent: list[Waiting] = []
        metrics.IN_FLIGHT.set_function(lambda: len(self._waiting))

    async def run(self) -> None:
        """Connect, once; the connection comes back by itself after that."""
        connection = await self._connect(disconnected_cb=self._on_disconnected)
        self._inbox = inferred_subject("gateway", new_id())
        await connection.listen(f"{self._inbox}.*", self._on_reply)
        self._connection, self._loop = connection, asyncio.get_running_loop()

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()

    async def problem(self) -> str:
        return "" if self._connection and self._connection.is_connected else "the bus is not connected"

    async def infer(self, project: str, model: str, request: frames.Request, seconds: float) -> frames.Reply:
        """Send a request and wait for its reply.

        Raises NobodyServes when nobody listens for the model, TimeoutError when the reply does not come in time,
        Unavailable without a bus or with too much in flight.
        """
        reply: asyncio.Future[frames.Reply] = asyncio.get_running_loop().create_future()
        waiting = self.begin(project, model, request, seconds, partial(_settle, reply))
        waiting.reply = reply
        try:
            return await reply
        except asyncio.CancelledError:
            self.give_up(waiting)
            raise

    def begin(self, project: str, model: str, request: frames.Request, seconds: float, ended: Ended) -> Waiting:
        """Send a request; `ended` hears what came of it. Raises as `infer` does where it cannot be sent."""
        loop = self._checked_loop()
        if seconds <= 0:
            raise TimeoutError
        waiting = Waiting(project, model, request, ended, self._alarms.after(seconds, loop))
        waiting.together.add(waiting)
        self._waiting[request.prediction_id] = waiting
        if not self._unsent:
            loop.call_soon(self._send)
        self._unsent.append(waiting)
        return waiting

    def give_up(self, waiting: Waiting) -> None:
        """Nobody waits for it any more."""
        self._forget(waiting)
        self._withdraw(waiting)

    def _end(self, waiting: Waiting, outcome: Outcome) -> None:
        if not waiting.is_over:
            self._forget(waiting)
            waiting.ended(outcome)

    def _forget(self, waiting: Waiting) -> None:
        waiting.is_over = True
        waiting.together.discard(waiting)
        self._waiting.pop(waiting.request.prediction_id, None)

    def _checked_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of a plane that can take one request more."""
        if self._loop is None or self._connection is None or not self._connection.is_connected:
            raise Unavailable(UNREACHABLE)
        if len(self._waiting) >= self._max_in_flight:
            raise Unavailable("too many predictions are in flight here; try again")
        return self._loop

    def _withdraw(self, waiting: Waiting) -> None:
        """Nobody waits for the reply any more: whoever has the request need not answer it."""
        if not waiting.message:
            return
        assert self._connection is not None
        try:
            subject = withdrawn_subject(waiting.project, waiting.model)
            self._connection.send(subject, frames.encode_ids([waiting.request.prediction_id]))
        except (nats.errors.Error, OSError) as error:
            observe.log().debug("withdrawal not sent", error=repr(error))

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for carried in _messages(unsent):
            try:
                self._publish(carried)
            except AimassError as error:
                self._fail(carried, error)
            except (nats.errors.Error, OSError) as error:
                observe.log().debug("requests not sent", error=repr(error))
                self._fail(carried, Unavailable(UNREACHABLE))

    def _publish(self, carried: list[Waiting]) -> None:
        assert self._connection is not None
        number = str(next(self._numbers))
        for waiting in carried:
            waiting.message = number
        frame = frames.encode_requests([waiting.request for waiting in carried])
        subject = infer_subject(carried[0].project, carried[0].model)
        self._connection.send(subject, frame, f"{self._inbox}.{number}")

    def _on_reply(self, message: Arrived) -> None:
        if message.is_nobody:
            self._on_nobody(message.subject.rpartition(".")[2])
            return
        try:
            replies = frames.decode_replies(message.data)
        except InvalidInput as error:
            observe.log().error("replies that cannot be read", error=error.message)
            return
        for reply in replies:
            waiting = self._waiting.get(reply.prediction_id)
            if waiting is None:
                self._unwanted(reply)
            else:
                self._end(waiting, reply)

    def _on_nobody(self, number: str) -> None:
        self._fail([waiting for waiting in self._waiting.values() if waiting.message == number], NobodyServes())

    async def _on_disconnected(self, *_: Any) -> None:
        """No reply can come any more to what was sent."""
        lost = Unavailable("the bus was lost while waiting for the prediction; try again")
        self._fail(list(self._waiting.values()), lost)

    def _fail(self, those: Iterable[Waiting], error: AimassError) -> None:
        for waiting in those:
            self._end(waiting, error)


def _messages(unsent: list[Waiting]) -> Iterator[list[Waiting]]:
    """The requests by model, in messages that the bus takes."""
    by_model: dict[tuple[str, str], list[Waiting]] = {}
    for waiting in unsent:
        if waiting.is_wanted:
            by_model.setdefault((waiting.project, waiting.model), []).append(waiting)
    for found in by_model.values():
        yield from frames.grouped(found, lambda waiting: len(waiting.request.body))


def _settle(reply: "asyncio.Future[frames.Reply]", outcome: Outcome) -> None:
    if reply.done():
        return
    if isinstance(outcome, frames.Reply):
        reply.set_result(outcome)
    else:
        reply.set_exception(outcome)
