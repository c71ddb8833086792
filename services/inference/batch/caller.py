"""The data plane as a batch asks it: over the bus like any caller, a version by number, patiently."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import nats.errors
import numpy as np

from services.inference.batch.domain import cuts, request_rows
from services.inference.settings import Settings
from shared import frames, observe, oip
from shared.body_store import BUS_BYTES, BodyStore
from shared.bus import Bus
from shared.errors import AimassError, Unavailable
from shared.names import new_id
from shared.sharing import credential, owned
from shared.streams import infer_subject
from shared.tensors import Tensor, from_numpy, to_numpy

NOT_NOW: Final = (429, 503, 504)
RETRY_SECONDS: Final = 0.2
MOST_RETRY_SECONDS: Final = 5.0
MESSAGE_CHARACTERS: Final = 300


class NotServed(AimassError):
    """The version is not deployed any more."""

    code = "not_served"


class RowsRefused(AimassError):
    """The model refused rows of the file."""

    code = "rows_refused"


@dataclass(frozen=True)
class Target:
    """A version, and in whose name it is asked."""

    project: str
    model: str
    version: int
    credential: str

    @classmethod
    def of(cls, asker: str, model: str, version: int, key: str) -> "Target":
        """A version as people of the project that asks name its model."""
        owner, name = owned(asker, model)
        return cls(owner, name, version, credential(asker, key, owner))

    def __str__(self) -> str:
        return f"version {self.version} of '{self.model}'"


class Caller:
    """Asks versions for all their outputs."""

    def __init__(self, bus: Bus, bodies: BodyStore, settings: Settings) -> None:
        self._bus, self._bodies, self._settings = bus, bodies, settings

    async def outputs(self, target: Target, start: int, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for rows of a file, of which the first is row `start`.

        Raises Unavailable while the version does not answer, NotServed when it is gone, RowsRefused naming the row.
        """
        try:
            return await self._ask_patiently(target, inputs)
        except RowsRefused as error:
            rows = inputs[0].shape[0]
            if rows == 1:
                raise RowsRefused(f"row {start + 1}: {error.message}") from None
        alone = [await self.outputs(target, start + row, rows_of(inputs, slice(row, row + 1))) for row in range(rows)]
        return joined(alone)

    async def answers(self, target: Target, start: int, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for many rows, the first being row `start`, a few requests at a time; raises as `outputs`."""
        count = inputs[0].shape[0]
        size = request_rows(sum(len(tensor.data) for tensor in inputs), count)
        gate = asyncio.Semaphore(self._settings.batch_concurrency)

        async def ask(rows: slice) -> tuple[Tensor, ...]:
            async with gate:
                return await self.outputs(target, start + rows.start, rows_of(inputs, rows))

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(rows)) for rows in cuts(count, size)]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return joined([task.result() for task in asked])

    async def once(self, target: Target, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs for a few rows, for somebody who waits; raises Unavailable, NotServed or RowsRefused."""
        return await self._ask(target, inputs)

    async def _ask_patiently(self, target: Target, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Ask, and again while the version is busy or away, as long as a batch may wait for it."""
        deadline = time.monotonic() + self._settings.batch_patience_seconds
        while True:
            try:
                return await self._ask(target, inputs)
            except (Unavailable, NotServed) as error:
                if time.monotonic() > deadline:
                    raise
                pause = min(error.retry_after or RETRY_SECONDS, MOST_RETRY_SECONDS)
            await asyncio.sleep(pause)

    async def _ask(self, target: Target, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        prediction_id = bytes.fromhex(new_id().replace("-", ""))
        request = self._request(prediction_id, target, inputs)
        if is_claimed := len(request.body) > BUS_BYTES:
            await self._bodies.keep(frames.request_claim(prediction_id), bytes(request.body))
            request = request._replace(body=b"", flags=frames.CLAIMED)
        try:
            reply = await self._send(target, request)
        finally:
            if is_claimed:
                await self._bodies.drop(frames.request_claim(prediction_id))
        return await self._read(target, reply, inputs[0].shape[0])

    def _request(self, prediction_id: bytes, target: Target, inputs: Sequence[Tensor]) -> frames.Request:
        body, header_length = oip.encode_request(oip.InferRequest(tuple(inputs)))
        return frames.Request(
            prediction_id,
            deadline=int((time.time() + self._settings.batch_request_seconds) * 1000),
            body=body,
            header_length=header_length,
            traceparent=observe.current_traceparent(),
            credential=target.credential,
            version=str(target.version),
        )

    async def _send(self, target: Target, request: frames.Request) -> frames.Reply:
        if not self._bus.is_connected():
            raise Unavailable("the bus is not reachable now")
        subject = infer_subject(target.project, target.model)
        frame, seconds = frames.encode_requests([request]), self._settings.batch_request_seconds
        try:
            message = await self._bus.connection.request(subject, frame, timeout=seconds)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the data plane does not answer for {target} now") from error
        reply = frames.decode_replies(message.data)[0]
        if reply.prediction_id != request.prediction_id:
            raise Unavailable("the answer is of another request")
        return reply

    async def _read(self, target: Target, reply: frames.Reply, rows: int) -> tuple[Tensor, ...]:
        """The outputs of an answer, checked to be of this version and of as many rows as were asked."""
        if reply.is_claimed:
            name = frames.reply_claim(reply.prediction_id)
            reply = reply._replace(body=await self._bodies.fetch(name))
            await self._bodies.drop(name)
        if reply.status in NOT_NOW:
            raise Unavailable(f"{target} is not ready now: {_reason(reply)}", retry_after=reply.retry_after)
        if reply.status == 404:
            raise NotServed(f"{target} is not served: {_reason(reply)}")
        if reply.status != 200 or reply.version != str(target.version):
            raise RowsRefused(_reason(reply))
        outputs = oip.decode_reply(reply.body, reply.header_length).outputs
        for output in outputs:
            if output.shape[:1] != (rows,):
                raise RowsRefused(f"output '{output.name}' has the shape {list(output.shape)} for {rows} rows")
        return outputs


def _reason(reply: frames.Reply) -> str:
    body = bytes(reply.body)
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["error"])[:MESSAGE_CHARACTERS]
    return f"status {reply.status}"


def rows_of(tensors: Sequence[Tensor], rows: slice) -> tuple[Tensor, ...]:
    """Some rows of tensors."""
    return tuple(from_numpy(tensor.name, to_numpy(tensor)[rows], tensor.datatype) for tensor in tensors)


def joined(pieces: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """The rows of several answers in order; raises RowsRefused where they differ in more than their rows."""
    return tuple(_joined(tensors) for tensors in zip(*pieces, strict=True))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    for tensor in tensors:
        if tensor.shape[1:] != first.shape[1:] or (tensor.name, tensor.datatype) != (first.name, first.datatype):
            raise RowsRefused(f"output '{first.name}' has rows of {list(first.shape[1:])} and {list(tensor.shape[1:])}")
    return from_numpy(first.name, np.concatenate([to_numpy(tensor) for tensor in tensors]), first.datatype)
