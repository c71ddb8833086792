"""The gateway's side of the data plane: a frame out over core NATS, its reply back, on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.gateway import metrics
from shared import frames
from shared.errors import InvalidInput, Unavailable
from shared.streams import infer_subject

NO_RESPONDERS = "503"
Connect = Callable[..., Awaitable[Client]]


class NobodyServes(Unavailable):
    """Nobody serves this model now."""

    code = "nobody_serves"


class DataPlane:
    """Sends a request to whoever serves its model and waits for the reply."""

    def __init__(self, connect: Connect, max_in_flight: int) -> None:
        self._connect = connect
        self._max_in_flight = max_in_flight
        self._connection: Client | None = None
        self._inbox = ""
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        metrics.IN_FLIGHT.set_function(lambda: len(self._waiting))

    async def run(self) -> None:
        """Connect, once; the connection comes back by itself after that."""
        connection = await self._connect(disconnected_cb=self._on_disconnected)
        self._inbox = connection.new_inbox()
        await connection.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        self._connection = connection

    async def close(self) -> None:
        if self._connection:
            await self._connection.close()

    async def problem(self) -> str:
        return "" if self._connection and self._connection.is_connected else "the bus is not connected"

    async def infer(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        """Send a request and wait for its reply; the caller limits the time.

        Raises NobodyServes when nobody listens for the model, Unavailable without a bus or with too much in flight.
        """
        frame = frames.encode_requests([request])
        reply = await self._exchange(infer_subject(project, model), frame)
        answers = frames.decode_replies(reply)
        if len(answers) != 1 or answers[0].prediction_id != request.prediction_id:
            raise InvalidInput("the reply belongs to another request")
        return answers[0]

    async def _exchange(self, subject: str, frame: bytes) -> bytes:
        connection = self._ready_connection()
        number = str(next(self._numbers))
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await connection.publish(subject, frame, reply=f"{self._inbox}.{number}")
            return await future
        except (nats.errors.Error, OSError) as error:
            raise Unavailable("the bus is not reachable now; try again") from error
        finally:
            del self._waiting[number]

    def _ready_connection(self) -> Client:
        if self._connection is None or not self._connection.is_connected:
            raise Unavailable("the bus is not reachable now; try again")
        if len(self._waiting) >= self._max_in_flight:
            raise Unavailable("too many predictions are in flight here; try again")
        return self._connection

    async def _on_reply(self, message: Msg) -> None:
        future = self._waiting.get(message.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            future.set_exception(NobodyServes())
        else:
            future.set_result(message.data)

    async def _on_disconnected(self, *_: Any) -> None:
        """No reply can come any more to what was sent."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable("the bus was lost while waiting for the prediction; try again"))
