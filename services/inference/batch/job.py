"""The job of a batch: read the file, ask part after part, keep each answered part, write the result.

Answers of a part are kept under the number of rows that are answered then, so a later attempt goes on after these.
"""

import asyncio
import time
from typing import Any, Final

from services.inference.batch import domain, part_files, store
from services.inference.batch.caller import Caller, Target
from services.inference.batch.domain import KIND, Plan, Read
from services.inference.batch.part_files import Part
from services.inference.batch.reading import Limits, ReadingSpec
from services.inference.batch.writing import WritingSpec
from services.inference.settings import Settings
from shared.tasks import store as tasks
from shared.tasks.run import Job, TaskRun
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Progress

READING: Final = "services.inference.batch.reading"
WRITING: Final = "services.inference.batch.writing"
INPUT: Final = "input"
ANSWERED: Final = "answered"


class BatchJob(Job):
    """Run the rows of one file through one version."""

    kind = KIND

    def __init__(self, caller: Caller, settings: Settings) -> None:
        self._caller, self._settings = caller, settings

    async def execute(self, run: TaskRun) -> None:
        await Batch(run, self._caller, self._settings).execute()

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        """TaskChanged says it all; what was kept is garbage now."""

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        """TaskChanged says it all; what was kept is garbage now."""


class Batch:
    """One attempt of a batch."""

    def __init__(self, run: TaskRun, caller: Caller, settings: Settings) -> None:
        self._run, self._caller, self._settings = run, caller, settings
        self._plan = Plan.model_validate(run.task.spec)
        origin = run.context
        self._target = Target.of(origin.project, run.task.model, self._plan.version, origin.actor)
        self._first = self._done = 0
        self._began = time.monotonic()

    async def execute(self) -> None:
        self._first = self._done = await self._resume()
        await self._run.artifacts.get_file(self._plan.digest, self._run.path(INPUT))
        read = await self._read()
        self._began = time.monotonic()
        for path in part_files.waiting(self._run.folder):
            await self._answer(await asyncio.to_thread(part_files.read, path), read.rows)
            path.unlink()
        await self._finish(read)

    async def _resume(self) -> int:
        """How many rows are answered already."""
        found: list[int] = []

        async def look(work: Work[None]) -> None:
            last = await tasks.latest_file(work.tx, self._run.task, ANSWERED)
            found[:] = [last[0] if last else 0]

        await self._run.write(look)
        if found[0]:
            self._run.log.tell("task", line=f"attempt {self._run.task.fence} goes on after row {found[0]}")
        return found[0]

    async def _read(self) -> Read:
        settings, signature = self._settings, self._plan.signature
        spec = ReadingSpec(
            file=INPUT,
            format=self._plan.format,
            signature=signature,
            part_rows=domain.part_rows(signature.inputs, settings.batch_part_rows),
            skip=self._done,
            limits=Limits(
                memory=settings.batch_memory,
                cpu_seconds=settings.batch_cpu_seconds,
                rows=settings.batch_rows,
                bytes=settings.batch_bytes,
            ),
        )
        result = await self._run.execute(READING, spec, tells_progress=False)
        return Read.model_validate(result.data)

    async def _answer(self, part: Part, total: int) -> None:
        """Ask for a part, and keep what is answered."""
        outputs = await self._caller.answers(self._target, part.start, part.tensors)
        await self._keep(part._replace(tensors=outputs, task=self._run.task.id))
        self._tell(total)

    async def _keep(self, answered: Part) -> None:
        end = answered.start + answered.rows
        path = self._run.path(part_files.answered_name(end))
        await asyncio.to_thread(part_files.write, path, answered)
        digest = await self._run.artifacts.put_file(path)
        path.unlink()

        async def change(work: Work[None]) -> None:
            await tasks.save_file(work.tx, self._run.task, ANSWERED, end, digest)

        await self._run.write(change)
        self._done = end

    def _tell(self, total: int) -> None:
        left = domain.seconds_left(self._done, total, self._done - self._first, time.monotonic() - self._began)
        fraction, message = domain.asked_fraction(self._done, total), f"{self._done} of {total} rows"
        self._run.progress(Progress(fraction=fraction, message=message, seconds_left=left))

    async def _finish(self, read: Read) -> None:
        """Put the result together; it and the end of the task commit at once, then the parts go."""
        output = self._plan.output or read.format
        kept = await self._fetch()
        spec = WritingSpec(files=[part_files.answered_name(end) for end in kept], format=output, rows=read.rows)
        made = await self._run.execute(WRITING, spec, tells_progress=False)
        path = self._run.path(made.files["result"])
        digest = await self._run.artifacts.put_file(path)
        result = {"digest": digest, "size": path.stat().st_size, "format": output, "rows": read.rows}
        surplus: list[str] = []

        async def change(work: Work[None]) -> None:
            surplus[:] = await tasks.drop_files(work.tx, self._run.task, ANSWERED, before=read.rows + 1)
            await self._run.succeed(work, result, note=f"{read.rows} rows")

        await self._run.write(change)
        for old in surplus:
            await self._run.artifacts.delete(old)

    async def _fetch(self) -> dict[int, str]:
        """Bring all answered parts back; their digests by the rows that are answered with each."""
        kept: dict[int, str] = {}

        async def look(work: Work[None]) -> None:
            kept.update(await store.answered(work.tx, self._run.task.id, ANSWERED))

        await self._run.write(look)
        for end, digest in kept.items():
            await self._run.artifacts.get_file(digest, self._run.path(part_files.answered_name(end)))
        return kept
