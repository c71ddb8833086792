"""Ends a Triton that waits for ever: its Python backend does so for a model's process that died while it was loaded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from services.inference.resources.memory import Processes
from shared import observe

DEADLINE_SECONDS: Final = 10.0
ABSENT_LOOKS: Final = 5
LOOK_SECONDS: Final = 1.0


class Watchdog:
    """Watches loads; who manages Triton starts it again, and the reconciler loads what is missing."""

    def __init__(
        self, processes: Processes, backend: str, deadline: float = DEADLINE_SECONDS, pause: float = LOOK_SECONDS
    ) -> None:
        self._processes, self._deadline, self._pause = processes, deadline, pause
        self._watches = backend == "python"

    @asynccontextmanager
    async def over(self, name: str) -> AsyncIterator[None]:
        """Watch while a version is loaded; of other backends a version has no process of its own."""
        if not self._watches:
            yield
            return
        watching = asyncio.create_task(self._watch(name))
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self, name: str) -> None:
        """A process may be missing for a moment, while one follows another: it counts only look after look."""
        await asyncio.sleep(self._deadline)
        absent = 0
        while absent < ABSENT_LOOKS:
            await asyncio.sleep(self._pause)
            absent = 0 if await asyncio.to_thread(self._processes.runs, name) else absent + 1
        if ended := await asyncio.to_thread(self._processes.end_server):
            reason = "its process died while it was loaded, which Triton waits for for ever"
            observe.log().error("triton ended", model=name, processes=ended, reason=reason)
