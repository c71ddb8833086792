"""How the programs of this benchmark take turns and keep time; of Python alone, so that peers can use it too."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

AT_ONCE = 5
MARK = "bench: "


async def told(word: str) -> None:
    """Say how far it is, among what is logged, and wait for a line."""
    print(f"{MARK}{word}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def changes(change: Callable[[int], Coroutine[Any, Any, None]], count: int, rate: float) -> None:
    """Each at its time, whatever became of those before; where the rate is 0, so many at once."""
    await (_paced(change, count, rate) if rate else _flat_out(change, count))


async def _paced(change: Callable[[int], Coroutine[Any, Any, None]], count: int, rate: float) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(change(number))


async def _flat_out(change: Callable[[int], Coroutine[Any, Any, None]], count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await change(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
