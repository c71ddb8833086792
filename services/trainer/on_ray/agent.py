"""The parent of a task's process on a node of the cluster: as the service is locally, but its reports wait here.

A thread has the event loop, and lives as long as this process: the kernel kills the task's process with it.
"""

import asyncio
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.trainer.on_ray.order import Order
from services.trainer.on_ray.shipping import Item, files_named, inside, pieces
from shared.series.processes import SAMPLE_SECONDS, ProcessSampler, as_points
from shared.tasks.process import OUT_OF_MEMORY, Limit, ProcessLost, TaskProcess, task_process
from shared.tasks.scratch import scratch
from shared.worker import Checkpoint, Failure, Lost, Report, Result

ROOM = 16
SILENCE_SECONDS = 1.0


class Agent:
    """Runs one module; what comes of it waits here, and where too much waits, so does the module."""

    def __init__(self, root: Path) -> None:
        self._root = root
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())  # Ray's starts no processes in threads
        self._loop = asyncio.new_event_loop()
        self._items: asyncio.Queue[Item] = asyncio.Queue(ROOM)
        threading.Thread(target=self._loop.run_forever, name="agent", daemon=True).start()

    def begin(self, order: Mapping[str, Any], files: Mapping[str, list[bytes]]) -> None:
        asyncio.run_coroutine_threadsafe(self._attend(Order.model_validate(order), files), self._loop)

    def next(self) -> list[Item]:
        """All that waits, or the first that comes within a second."""
        return asyncio.run_coroutine_threadsafe(self._take(), self._loop).result()

    async def _take(self) -> list[Item]:
        taken: list[Item] = []
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                taken.append(await self._items.get())
        except TimeoutError:
            return []
        while not self._items.empty():
            taken.append(self._items.get_nowait())
        return taken

    async def _attend(self, order: Order, files: Mapping[str, list[bytes]]) -> None:
        try:
            with scratch(self._root / "work") as folder:
                await asyncio.to_thread(_write, folder, files)
                last = await self._run(order, folder)
        except ProcessLost as error:
            last = Lost(message=error.message)
        except Exception as error:
            last = Failure(error=type(error).__name__, message=str(error))
        await self._items.put(("report", last.model_dump_json()))

    async def _run(self, order: Order, folder: Path) -> Report:
        """Its last report, once all that came before it and its files are on their way."""
        limit = Limit(order.memory or sys.maxsize)
        async with task_process(order.module, order.spec, folder, self._line, order.threads, limit) as process:
            watching = asyncio.create_task(self._watch(process.pid, order))
            try:
                return await self._relay(process, folder)
            finally:
                watching.cancel()

    async def _relay(self, process: TaskProcess, folder: Path) -> Report:
        while report := await process.next_report():
            await self._ship_files(report, folder)
            if isinstance(report, Result | Failure):
                await process.ended()
                return report
            await self._items.put(("report", report.model_dump_json()))
        return await _verdict(process)

    async def _watch(self, pid: int, order: Order) -> None:
        """Tell what the process takes of this machine, as the service does of its children."""
        sampler = ProcessSampler(pid)
        while True:
            if figures := await asyncio.to_thread(sampler.sample):
                await self._items.put(("report", as_points(figures, order.started).model_dump_json()))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _ship_files(self, report: Report, folder: Path) -> None:
        """A checkpoint that was taken is gone, as where the service itself is the parent."""
        for name in files_named(report):
            path = inside(folder, name)
            for number, piece in enumerate(pieces(path)):
                await self._items.put(("piece", name, number, piece))
            if isinstance(report, Checkpoint):
                path.unlink()

    async def _line(self, _: str, line: str) -> None:
        await self._items.put(("line", line))


async def _verdict(process: TaskProcess) -> Report:
    ended = await process.ended()
    if process.limit.exceeded:
        return Failure(error=OUT_OF_MEMORY, message=str(process.limit))
    return Lost(message=f"the task's process {ended}")


def _write(folder: Path, files: Mapping[str, list[bytes]]) -> None:
    for name, parts in files.items():
        with inside(folder, name).open("wb") as file:
            file.writelines(parts)
