"""The gateway's side of the data plane: requests of one turn of the loop share a frame; replies come as they are done.

It has a connection of its own. A reply is known by its prediction id, whatever message brings it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
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


@dataclass(slots=True, eq=False)
class Waiting:
    """A request on its way, and the number of the message that carries it, if it has left."""

    project: str
    model: str
    request: frames.Request
    reply: "asyncio.Future[frames.Reply]"
    message: str = ""


class Alarms:
    """One timer for all that are to end within the same hundredth of a second: one for each request costs more."""

    def __init__(self) -> None:
        self._due: dict[int, set[Waiting]] = {}

    def add(self, waiting: Waiting, seconds: float, loop: asyncio.AbstractEventLoop) -> set[Waiting]:
        """Let a request fail after these seconds, and a little; who is answered leaves the set that this gives."""
        moment = math.ceil((loop.time() + seconds) * TICKS)
        together = self._due.get(moment)
        if together is None:
            together = self._due[moment] = set()
            loop.call_at(moment / TICKS, self._ring, moment)
        together.add(waiting)
        return together

    def _ring(self, moment: int) -> None:
        for waiting in self._due.pop(moment):
            if not waiting.reply.done():
                waiting.reply.set_exception(TimeoutError())


class DataPlane:
    """Sends a request to whoever serves its model and waits for the reply."""

    def __init__(self, connect: Connect, max_in_flight: int) -> None:
        self._connect = connect
        self._max_in_flight = max_in_flight
        self._connection: DirectClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarms = Alarms()
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
        loop = self._checked_loop()
        if seconds <= 0:
            raise TimeoutError
        waiting = Waiting(project, model, request, loop.create_future())
        self._waiting[request.prediction_id] = waiting
        if not self._unsent:
            loop.call_soon(self._send)
        self._unsent.append(waiting)
        together = self._alarms.add(waiting, seconds, loop)
        try:
            return await waiting.reply
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise
        finally:
            together.discard(waiting)
            del self._waiting[request.prediction_id]

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
                _fail(carried, error)
            except (nats.errors.Error, OSError) as error:
                observe.log().debug("requests not sent", error=repr(error))
                _fail(carried, Unavailable(UNREACHABLE))

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
            if waiting is not None and not waiting.reply.done():
                waiting.reply.set_result(reply)

    def _on_nobody(self, number: str) -> None:
        _fail((waiting for waiting in self._waiting.values() if waiting.message == number), NobodyServes())

    async def _on_disconnected(self, *_: Any) -> None:
        """No reply can come any more to what was sent."""
        _fail(self._waiting.values(), Unavailable("the bus was lost while waiting for the prediction; try again"))


def _messages(unsent: list[Waiting]) -> Iterator[list[Waiting]]:
    """The requests by model, in messages that the bus takes."""
    by_model: dict[tuple[str, str], list[Waiting]] = {}
    for waiting in unsent:
        if not waiting.reply.done():
            by_model.setdefault((waiting.project, waiting.model), []).append(waiting)
    for found in by_model.values():
        yield from frames.grouped(found, lambda waiting: waiting.request.body)


def _fail(those: Iterable[Waiting], error: AimassError) -> None:
    for waiting in those:
        if not waiting.reply.done():
            waiting.reply.set_exception(error)
