"""What a task says of itself by step, on its way into the database under its fencing number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shared import observe
from shared.ending import end
from shared.errors import AimassError
from shared.series import records, store
from shared.series.columns import Columns
from shared.series.processes import SAMPLE_SECONDS, ProcessSampler, as_points
from shared.work import Work
from shared.worker import Points, Record

if TYPE_CHECKING:
    from shared.tasks.run import TaskRun


class SeriesWriter:
    """Appends the points of one attempt, each once however often a commit is tried."""

    def __init__(self, run: "TaskRun") -> None:
        self._run = run
        self._said: dict[str, int] = {}

    async def write(self, points: Points) -> None:
        """Raises LeaseLost when another worker holds the task."""
        parts = {name: Columns.of(s.steps, s.times, s.values) for name, s in points.series.items()}

        async def change(work: Work[None]) -> None:
            for name, part in parts.items():
                said, task = self._said.get(name, 0), self._run.task
                await store.append(work.tx, task.id, task.fence, name, part, said=said, per_epoch=points.per_epoch)

        await self._run.write(change)
        for name, part in parts.items():
            self._said[name] = self._said.get(name, 0) + len(part)

    async def keep(self, record: Record) -> None:
        """Raises InvalidInput for a record that is too large, LeaseLost when another worker holds the task."""
        file = None if record.file is None else self._run.path(record.file)
        kept = await records.kept(record, file, self._run.artifacts)

        async def change(work: Work[None]) -> None:
            await records.save(work.tx, self._run.task.id, self._run.task.fence, kept)

        await self._run.write(change)

    @asynccontextmanager
    async def watching(self, pid: int) -> AsyncIterator[ProcessSampler]:
        """Note what the process takes of the machine until the block ends, and those that are added to the sampler."""
        sampler = ProcessSampler(pid)
        watching = asyncio.create_task(self._watch(sampler))
        try:
            yield sampler
        finally:
            await end([watching])

    async def _watch(self, sampler: ProcessSampler) -> None:
        started = self._run.task.started_at
        while True:
            if figures := await asyncio.to_thread(sampler.sample):
                try:
                    await self.write(as_points(figures, started))
                except AimassError as error:
                    observe.log().debug("figures of the process not kept", error=error.message)
            await asyncio.sleep(SAMPLE_SECONDS)
