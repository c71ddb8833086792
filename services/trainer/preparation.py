"""The job that makes a data set of a file, and the step of a training that makes one of the library."""

from typing import Any

from services.trainer.domain import Brought
from shared.rpc.registry import DatasetView, RegisterDataset
from shared.tasks.run import Job, TaskRun
from shared.tasks.store import Task
from shared.work import Work

PREPARE = "library.preparation"
GIVEN = "given"


async def prepared(run: TaskRun, name: str, spec: dict[str, Any], *, is_step: bool = False) -> DatasetView:
    """Make the parts in a process and keep them; equal data gives equal digests wherever it is made."""
    result = await run.execute(PREPARE, spec, tells_progress=not is_step)
    parts = {part: await run.artifacts.put_file(run.path(file)) for part, file in result.files.items()}
    facts = {key: value for key, value in result.data.items() if key not in ("digest", "parts")}
    return await run.ask(RegisterDataset(name=name, digest=result.data["digest"], parts=parts, facts=facts))


class PrepareJob(Job):
    """Make a data set of a file that somebody brought; registry says that there is one."""

    kind = "prepare"

    async def execute(self, run: TaskRun) -> None:
        plan = Brought(**run.task.spec)
        await run.artifacts.get_file(plan.file, run.path(GIVEN))
        spec = {"dataset": plan.parameters["like"], "file": GIVEN, "format": plan.parameters.get("format")}
        made = await prepared(run, plan.dataset, spec)

        async def change(work: Work[None]) -> None:
            await run.succeed(work, {"dataset": made.name, "dataset_digest": made.digest, "sizes": made.facts["sizes"]})

        await run.write(change)

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all."""

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all."""
