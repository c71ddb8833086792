"""The end of tasks: what one of them waits in may lose a cancellation, so that a single one may never end it."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 1.0
PROCESS_SECONDS = 15.0  # for a task that ends a process first


async def end(tasks: "Iterable[asyncio.Task[Any]]", again: float = AGAIN_SECONDS) -> None:
    """Cancel until all have ended, once in so many seconds; how they ended is theirs to tell."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
