"""The data plane as evaluator uses it: a version asked by number, patiently, and marked as evaluation traffic."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats.errors
import numpy as np
from nats.aio.client import Client
from numpy.typing import NDArray

from services.evaluator.domain import Version
from services.evaluator.settings import Settings
from shared import frames, oip
from shared.errors import AimassError, Unavailable
from shared.names import new_id
from shared.streams import infer_subject
from shared.tensors import from_numpy, to_numpy

RETRY_SECONDS = 0.3
Arrays = dict[str, NDArray[Any]]
Advance = Callable[[int], None]


class DataPlane:
    """Asks versions for their first output, in batches."""

    def __init__(self, connection: Callable[[], Awaitable[Client]], settings: Settings) -> None:
        self._connect, self._settings = connection, settings
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def outputs(self, version: Version, items: Arrays, advance: Advance) -> NDArray[Any]:
        """The outputs for all items, in their order; `advance` is told how many items are done.

        Raises Unavailable when the version did not answer for `patience_seconds`.
        """
        gate = asyncio.Semaphore(self._settings.concurrency)

        async def ask(batch: Arrays) -> NDArray[Any]:
            async with gate:
                found = await self._ask_patiently(version, batch)
                advance(len(found))
                return found

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(batch)) for batch in self._batches(version, items)]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return np.concatenate([task.result() for task in asked])

    def _batches(self, version: Version, items: Arrays) -> Iterator[Arrays]:
        names = [spec.name for spec in version.signature.inputs]
        count = len(items[names[0]])
        for start in range(0, count, self._settings.batch_size):
            yield {name: items[name][start : start + self._settings.batch_size] for name in names}

    async def _ask_patiently(self, version: Version, batch: Arrays) -> NDArray[Any]:
        deadline = time.monotonic() + self._settings.patience_seconds
        while True:
            try:
                return await self._ask(version, batch)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self, version: Version, batch: Arrays) -> NDArray[Any]:
        client = await self._connected()
        frame = self._frame(version, batch)
        subject = infer_subject(version.project, version.model)
        try:
            message = await client.request(subject, frame, timeout=self._settings.request_seconds)
        except nats.errors.Error as error:
            raise Unavailable(f"the data plane does not answer for '{version.model}' now") from error
        return _read(frames.decode_replies(message.data)[0], version)

    def _frame(self, version: Version, batch: Arrays) -> bytes:
        tensors = tuple(from_numpy(spec.name, batch[spec.name], spec.datatype) for spec in version.signature.inputs)
        output = oip.RequestedOutput(version.signature.outputs[0].name, True)
        body, header_length = oip.encode_request(oip.InferRequest(tensors, (output,)))
        deadline = int((time.time() + self._settings.request_seconds) * 1000)
        prediction_id = bytes.fromhex(new_id().replace("-", ""))
        request = frames.Request(
            prediction_id, deadline, body, header_length, frames.EVALUATION, version=str(version.version)
        )
        return frames.encode_requests([request])

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def _read(reply: frames.Reply, version: Version) -> NDArray[Any]:
    if reply.status in (404, 503, 504):
        raise Unavailable(f"version {version.version} of '{version.model}' is not ready now")
    if reply.status != 200:
        raise AimassError(f"version {version.version} of '{version.model}' answered: {bytes(reply.body)[:300]!r}")
    return to_numpy(oip.decode_reply(reply.body, reply.header_length).outputs[0])
