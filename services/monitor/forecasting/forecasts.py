"""The forecast of now, made anew when it is asked for and not quite new."""

import asyncio
import time
from datetime import UTC, datetime

from services.monitor.forecasting import store
from services.monitor.forecasting.domain import Going, Key, Place, Span, at, expected, held_up, left, simulated
from shared import observe
from shared.bus import Bus
from shared.context import Context
from shared.db import Connection
from shared.errors import AimassError
from shared.rpc.trainer import GetQueues, NodeQueue, Queues

FRESH_SECONDS = 2.0
ASK_SECONDS = 1.0
Seconds = dict[Key, float | None]


class Forecasts:
    """Of all projects at once, as their tasks wait in one line; while the desk does not answer, of what runs alone."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._made = -FRESH_SECONDS
        self._found: dict[Key, Span] = {}
        self._making = asyncio.Lock()

    async def now(self, tx: Connection) -> dict[Key, Span]:
        """By project and task."""
        async with self._making:
            if time.monotonic() - self._made > FRESH_SECONDS:
                self._found = await self._make(tx)
                self._made = time.monotonic()
            return self._found

    async def _make(self, tx: Connection) -> dict[Key, Span]:
        waits, runs = await store.going(tx)
        if not waits and not runs:
            return {}
        queues = await self._queues() if waits else Queues()
        seconds = await _expected(tx, [*waits, *runs])
        now = datetime.now(UTC)
        ends: Seconds = {task.key: left(task, seconds[task.key], now) for task in runs}
        found: dict[Key, tuple[float | None, float | None]] = {key: (None, end) for key, end in ends.items()}
        for queue in queues.nodes:
            found |= simulated(_place(queue, ends, seconds))
        held = [(task, seconds[task.key]) for task in waits if task.waits_for]
        found |= held_up(held, {key: span[1] for key, span in found.items()})
        return {key: (at(now, begins), at(now, end)) for key, (begins, end) in found.items()}

    async def _queues(self) -> Queues:
        try:
            return await self._bus.ask(GetQueues(), Context(), seconds=ASK_SECONDS)
        except AimassError as error:
            observe.log().debug("no order of the line now", error=error.message)
            return Queues()


async def _expected(tx: Connection, tasks: list[Going]) -> Seconds:
    likes = {task.key: (task.key[0], task.kind, task.model) for task in tasks}
    past = await store.past(tx, sorted(set(likes.values())))
    return {task.key: expected(past.get(likes[task.key], []), task.parameters) for task in tasks}


def _place(queue: NodeQueue, ends: Seconds, seconds: Seconds) -> Place:
    running = [(each.needs, ends.get((each.project, each.task_id))) for each in queue.running]
    keys = [((each.project, each.task_id), each.needs) for each in queue.waiting]
    return Place(queue.capacity, running, [(key, needs, seconds.get(key)) for key, needs in keys])
