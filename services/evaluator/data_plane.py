"""The data plane as evaluator uses it: a version asked by number, patiently, and marked as evaluation traffic."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats.errors
import numpy as np
from nats.aio.client import Client
from numpy.typing import NDArray

from services.evaluator.domain import Version
from services.evaluator.settings import Settings
from shared import frames, observe, oip
from shared.body_store import BodyStore
from shared.errors import AimassError, DeadlineExceeded, Unavailable
from shared.names import new_id
from shared.streams import infer_subject
from shared.tensors import from_numpy, to_numpy

RETRY_SECONDS = 0.3
BATCH_BYTES = frames.MAX_FRAME_BYTES // 2
NOT_NOW = (429, 503)
MESSAGE_CHARACTERS = 300
Array = NDArray[Any]
Arrays = dict[str, Array]
Advance = Callable[[int], None]
Stage = Callable[[Version], Awaitable[None]]


class NotServed(AimassError):
    """The data plane does not serve this version."""

    code = "not_served"


class Refused(AimassError):
    """The version refused held-out items of its own data set, or answered them wrongly."""

    code = "refused"


class Late(Unavailable):
    """The version did not answer in time."""


class Pace:
    """How many calls of an evaluation are under way, and for how long; `heard` is when the version last answered."""

    def __init__(self, settings: Settings) -> None:
        self.at_once, self.seconds = settings.concurrency, settings.request_seconds
        self.heard = -math.inf
        self._longest = max(settings.request_seconds, settings.request_seconds_max)
        self._gate = asyncio.Semaphore(self.at_once)
        self._surplus = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn; it lasts so many seconds."""
        await self._gate.acquire()
        try:
            yield self.seconds
        finally:
            if self._surplus:
                self._surplus -= 1
            else:
                self._gate.release()

    def slow_down(self, seconds: float) -> bool:
        """Half as many calls, and twice the time; whether there is hope in it for a call that took so long in vain."""
        if seconds == self.seconds < self._longest:
            fewer = max(1, self.at_once // 2)
            self._surplus += self.at_once - fewer
            self.at_once, self.seconds = fewer, min(2 * seconds, self._longest)
        return seconds < self.seconds


class DataPlane:
    """Asks versions for their first output, in batches; `stage` brings back one that was unstaged while it waited."""

    def __init__(
        self, connection: Callable[[], Awaitable[Client]], bodies: BodyStore, settings: Settings, stage: Stage
    ) -> None:
        self._connect, self._bodies, self._settings, self._stage = connection, bodies, settings, stage
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def outputs(self, version: Version, items: Arrays, advance: Advance) -> Array:
        """The outputs for all items, in their order; `advance` is told how many items are done.

        Raises Unavailable or NotServed when the version did not answer for `patience_seconds`, Refused when it
        answered but not with outputs.
        """
        pace = Pace(self._settings)

        async def ask(batch: Arrays) -> Array:
            found = await self._ask_patiently(version, batch, pace)
            advance(len(found))
            return found

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(batch)) for batch in self._batches(version, items)]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return _joined([task.result() for task in asked])

    def _batches(self, version: Version, items: Arrays) -> Iterator[Arrays]:
        columns = {spec.name: items[spec.name] for spec in version.signature.inputs}
        count = min(map(len, columns.values()))
        row_bytes = sum(column.nbytes for column in columns.values()) // max(1, count)
        size = max(1, min(self._settings.batch_size, BATCH_BYTES // max(1, row_bytes)))
        if -1 in version.signature.outputs[0].shape[1:]:
            size = 1  # else all of a batch are as long as the longest
        for start in range(0, count, size):
            yield {name: column[start : start + size] for name, column in columns.items()}

    async def _ask_patiently(self, version: Version, batch: Arrays, pace: Pace) -> Array:
        """Ask, and ask again while Triton or inference is away, has not met the version yet, or needs longer."""
        begun = time.monotonic()
        while True:
            async with pace.turn() as seconds:
                try:
                    found = await self._ask(version, batch, seconds)
                except (Unavailable, NotServed) as error:
                    waited = time.monotonic() - max(begun, pace.heard)
                    is_slow = isinstance(error, Late) and pace.slow_down(seconds)
                    if waited > self._settings.patience_seconds and not is_slow:
                        raise
                    if isinstance(error, NotServed):
                        await self._stage(version)
                else:
                    pace.heard = time.monotonic()
                    return found
            await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self, version: Version, batch: Arrays, seconds: float) -> Array:
        client = await self._connected()
        prediction_id = bytes.fromhex(new_id().replace("-", ""))
        frame = self._frame(prediction_id, version, batch, seconds)
        subject = infer_subject(version.project, version.model)
        try:
            message = await client.request(subject, frame, timeout=seconds)
        except nats.errors.TimeoutError as error:
            raise Late(f"'{version.model}' did not answer within {seconds:.3g} s") from error
        except nats.errors.Error as error:
            raise Unavailable(f"the data plane does not answer for '{version.model}' now") from error
        reply = await self._whole(frames.decode_replies(message.data)[0])
        if reply.prediction_id != prediction_id:
            raise Refused("the answer is of another request")
        return _read(reply, version, len(next(iter(batch.values()))))

    def _frame(self, prediction_id: bytes, version: Version, batch: Arrays, seconds: float) -> bytes:
        tensors = tuple(from_numpy(spec.name, batch[spec.name], spec.datatype) for spec in version.signature.inputs)
        output = oip.RequestedOutput(version.signature.outputs[0].name, True)
        body, header_length = oip.encode_request(oip.InferRequest(tensors, (output,)))
        request = frames.Request(
            prediction_id,
            deadline=int((time.time() + seconds) * 1000),
            body=body,
            header_length=header_length,
            flags=frames.EVALUATION,
            traceparent=observe.current_traceparent(),
            version=str(version.version),
        )
        return frames.encode_requests([request])

    async def _whole(self, reply: frames.Reply) -> frames.Reply:
        """The reply with its body, which lies in the object store where it is too large for the bus."""
        if not reply.is_claimed:
            return reply
        name = frames.reply_claim(reply.prediction_id)
        body = await self._bodies.fetch(name)
        await self._bodies.drop(name)
        return reply._replace(body=body, is_claimed=False)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            with suppress(OSError):  # the bus may be away
                await self._client.close()


def _joined(found: list[Array]) -> Array:
    """All rows; what has any length is followed by zeros up to the longest."""
    if len({rows.shape[1:] for rows in found}) == 1:
        return np.concatenate(found)
    longest = max(rows.shape[1] for rows in found)
    return np.concatenate([np.pad(rows, [(0, 0), (0, longest - rows.shape[1])]) for rows in found])


def _read(reply: frames.Reply, version: Version, rows: int) -> Array:
    """The first output of an answer, checked to be of this version and of as many rows as were asked."""
    label = f"version {version.version} of '{version.model}'"
    if reply.status == DeadlineExceeded.status:
        raise Late(f"{label} did not answer in time: {_reason(reply)}")
    if reply.status in NOT_NOW:
        raise Unavailable(f"{label} is not ready now: {_reason(reply)}")
    if reply.status == 404:
        raise NotServed(f"{label} is not served: {_reason(reply)}")
    if reply.status != 200:
        raise Refused(f"{label} answered with status {reply.status}: {_reason(reply)}")
    if reply.version != str(version.version):
        raise Refused(f"version {reply.version or 'unknown'} answered in place of {label}")
    found = to_numpy(oip.decode_reply(reply.body, reply.header_length).outputs[0])
    if found.ndim == 0 or len(found) != rows:
        raise Refused(f"{label} answered {rows} items with an output of shape {list(found.shape)}")
    return found


def _reason(reply: frames.Reply) -> str:
    body = bytes(reply.body)
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["error"])[:MESSAGE_CHARACTERS]
    return repr(body[:MESSAGE_CHARACTERS])
