"""Batches: what is asked for while one is in work goes together as the next, so that it pays for one transaction."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Batches(Generic[Item]):
    """Nobody waits for others to come; where a batch fails, each of its items is tried alone and fails alone."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[None]], most: int) -> None:
        self._work, self._most = work, most
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> None:
        """Return when the item's batch is done; raises what its work raised."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not await self._done_together(batch):
                for one in batch:
                    await self._do_alone(*one)

    async def _done_together(self, batch: list[tuple[Item, asyncio.Future[None]]]) -> bool:
        if len(batch) == 1:
            return False
        try:
            await self._work([item for item, _ in batch])
        except Exception:
            return False
        for _, done in batch:
            _settle(done, None)
        return True

    async def _do_alone(self, item: Item, done: asyncio.Future[None]) -> None:
        try:
            await self._work([item])
        except Exception as error:
            _settle(done, error)
        else:
            _settle(done, None)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    """Who has stopped waiting is told nothing."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
