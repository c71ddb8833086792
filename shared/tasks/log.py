"""The log of a task's attempt on its way to the stream LOG: in order, once, and never in the way of the task.

While the bus is away lines wait here; when there is no more room they are dropped, which the log itself says.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared import observe
from shared.bus import Bus
from shared.ending import end
from shared.streams import log_subject
from shared.tasks.store import Task

LINES = 2000
ROOM = LINES + 200
LINE_CHARACTERS = 8000
BATCH = 64
PUBLISH_SECONDS = 2.0
RETRY_SECONDS = 0.25
STALL_SECONDS = 10.0
AWAY_SECONDS = 3.0
LAST_LINES = 50


def entry(task: Task, stream: str, **facts: Any) -> bytes:
    """One message of the stream LOG."""
    return json.dumps({"at": time.time(), "stream": stream, "attempt": task.fence, **facts}).encode()


class TaskLog:
    """Lines go in at any speed; `flowing` takes them to the bus."""

    def __init__(self, bus: Bus, task: Task) -> None:
        self._bus, self._task = bus, task
        self._subject = log_subject(task.project, task.id)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(ROOM)
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._published = 0
        self._taken = 0
        self._stalled_at: int | None = None
        self._dropped = 0

    async def write(self, stream: str, line: str) -> None:
        """Add a line; a full log holds the writer up as long as the bus takes lines."""
        self.last_lines.append(line)
        body = entry(self._task, stream, line=line[:LINE_CHARACTERS])
        if self._has_enough() and self._bus.is_connected():
            await self._await_room()
        if self._has_enough():
            self._drop(1)
        else:
            self._offer(body)

    def tell(self, stream: str, **facts: Any) -> None:
        """Add an entry without ever waiting; lines leave room for it."""
        self._offer(entry(self._task, stream, **facts))

    def _has_enough(self) -> bool:
        return self._waiting.qsize() >= LINES

    async def _await_room(self) -> None:
        """A bus that took nothing for STALL_SECONDS holds no writer up again until it takes something."""
        deadline = time.monotonic() + STALL_SECONDS
        while self._has_enough() and self._taken != self._stalled_at and self._bus.is_connected():
            if time.monotonic() > deadline:
                self._stalled_at = self._taken
            await asyncio.sleep(0.01)

    def _offer(self, body: bytes) -> None:
        try:
            self._waiting.put_nowait(body)
        except asyncio.QueueFull:
            self._drop(1)

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        observe.BUS_ERRORS.labels(self._bus.service, "log_dropped").inc(lines)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Publish until the block ends, then what is left for a short while."""
        pumping = asyncio.create_task(self._pump())
        try:
            yield
        finally:
            await self.flush()
            await end([pumping])

    async def flush(self) -> None:
        """Wait until the bus has all lines, or took none for STALL_SECONDS; for AWAY_SECONDS while it is away."""
        taken = -1
        while taken != self._taken:
            taken = self._taken
            try:
                async with asyncio.timeout(STALL_SECONDS if self._bus.is_connected() else AWAY_SECONDS):
                    await self._waiting.join()
                return
            except TimeoutError:
                continue
        left = self._waiting.qsize()
        self._drop(left)
        observe.log().warning("task log not taken by the bus", task=self._task.id, lines=left)

    async def _pump(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            bodies = [*self._notice(), *batch]
            await asyncio.gather(*(self._bring(self._next_id(), body) for body in bodies))
            for _ in batch:
                self._waiting.task_done()

    def _notice(self) -> list[bytes]:
        """What the log says of lines that were dropped before."""
        lost, self._dropped = self._dropped, 0
        return [entry(self._task, "dropped", line=f"{lost} lines were dropped")] if lost else []

    def _next_id(self) -> str:
        """An id by which the bus knows a line that it took already without our knowing."""
        self._published += 1
        return f"{self._task.id}-{self._task.fence}-{self._published}"

    async def _bring(self, message_id: str, body: bytes) -> None:
        await self._publish(message_id, body)
        self._taken += 1

    async def _publish(self, message_id: str, body: bytes) -> None:
        while True:
            try:
                headers = {"Nats-Msg-Id": message_id}
                await self._bus.js.publish(self._subject, body, headers=headers, timeout=PUBLISH_SECONDS)
                return
            except Exception as error:
                observe.log().debug("task log waits", task=self._task.id, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
