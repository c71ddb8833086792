"""The job of a search index: read the file, ask for the vectors of part after part, and answer by the new documents.

Until all are there the index answers by those that it had.
"""

import asyncio
from typing import Any, Final

from services.inference.batch import domain as batches
from services.inference.batch import part_files
from services.inference.batch.caller import Caller, Target
from services.inference.batch.domain import Read
from services.inference.batch.part_files import Part
from services.inference.batch.reading import Limits, ReadingSpec
from services.inference.search import domain, store
from services.inference.search.domain import KIND, Plan
from services.inference.search.store import Index
from services.inference.settings import Settings
from shared.tables.values import Unfit
from shared.tasks.run import Job, TaskRun
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Progress

READING: Final = "services.inference.batch.reading"
INPUT: Final = "input"
PART_ROWS: Final = 256


class IndexJob(Job):
    """Make the documents of an index anew."""

    kind = KIND

    def __init__(self, caller: Caller, settings: Settings) -> None:
        self._caller, self._settings = caller, settings

    async def execute(self, run: TaskRun) -> None:
        await Indexing(run, self._caller, self._settings).execute()

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        await store.drop(work.tx, task.id)

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        await store.drop(work.tx, task.id)


class Indexing:
    """One attempt; a later one goes on after the documents that are kept."""

    def __init__(self, run: TaskRun, caller: Caller, settings: Settings) -> None:
        self._run, self._caller, self._settings = run, caller, settings
        self._plan = Plan.model_validate(run.task.spec)
        self._target = Target.of(run.context.project, run.task.model, self._plan.version, run.context.actor)
        self._done = 0

    async def execute(self) -> None:
        await self._run.write(self._begin)
        await self._run.artifacts.get_file(self._plan.digest, self._run.path(INPUT))
        read = await self._read()
        for path in part_files.waiting(self._run.folder):
            await self._add(await asyncio.to_thread(part_files.read, path))
            path.unlink()
            fraction = batches.asked_fraction(self._done, read.rows)
            self._run.progress(Progress(fraction=fraction, message=f"{self._done} of {read.rows} documents"))
        await self._run.write(self._finish)

    async def _begin(self, work: Work[Any]) -> None:
        self._done = await store.begin(work.tx, self._run.task.id, self._plan.dimensions)

    async def _read(self) -> Read:
        settings = self._settings
        spec = ReadingSpec(
            file=INPUT,
            format=self._plan.format,
            signature=domain.DOCUMENTS,
            optional=domain.OPTIONAL,
            part_rows=PART_ROWS,
            skip=self._done,
            limits=Limits(
                memory=settings.batch_memory,
                cpu_seconds=settings.batch_cpu_seconds,
                rows=settings.index_documents,
                bytes=settings.batch_bytes,
            ),
        )
        return Read.model_validate((await self._run.execute(READING, spec, tells_progress=False)).data)

    async def _add(self, part: Part) -> None:
        """Ask for the vectors of a part, and keep its documents."""
        documents = domain.documents(part.start, part.tensors)
        texts = next(tensor for tensor in part.tensors if tensor.name == domain.TEXT)
        outputs = await self._caller.answers(self._target, part.start, [texts._replace(name=self._plan.input)])
        vectors = domain.literals(outputs, self._plan.output)

        async def change(work: Work[Any]) -> None:
            if repeated := await store.repeated(work.tx, self._run.task.id, [document.id for document in documents]):
                raise Unfit(f"column '{domain.ID}': two documents have '{repeated}': give each its own")
            await store.add(work.tx, self._run.task.id, part.start, documents, vectors)

        await self._run.write(change)
        self._done = part.start + part.rows

    async def _finish(self, work: Work[Any]) -> None:
        """Searches, the end of the task, and the end of the documents before these: all at once."""
        plan, project = self._plan, self._run.context.project
        before = await store.find(work.tx, project, plan.index, store.FIND_FOR_UPDATE)
        facts = (project, plan.index, self._run.task.model, plan.version, plan.input, plan.output, plan.dimensions)
        await store.save(work.tx, Index(*facts, documents=self._done, generation=self._run.task.id))
        if before is not None:
            await store.drop(work.tx, before.generation)
        await self._run.succeed(work, {"index": plan.index, "documents": self._done}, f"{self._done} documents")
