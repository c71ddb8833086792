"""The job that makes an optimised version of a version: its file, rows of its data set, a process, another file."""

from typing import Any

from library.optimisation.process import OptimisationSpec
from services.trainer.domain import OPTIMISE, Improved, optimised
from shared.errors import NotFound
from shared.rpc.registry import GetDataset
from shared.tasks.run import Job, TaskFailed, TaskRun
from shared.tasks.store import Task
from shared.work import Work

PROCESS = "library.optimisation.process"
GIVEN = "given.onnx"
VALIDATION = "validation"


class OptimiseJob(Job):
    """Optimise one version; registry makes a version of what comes out, which is evaluated like any other."""

    kind = OPTIMISE

    async def execute(self, run: TaskRun) -> None:
        plan = Improved(model=run.task.model, **run.task.spec)
        await run.artifacts.get_file(plan.file, run.path(GIVEN))
        parts = await _parts(run, plan)
        calibration = parts.get(plan.calibration) if plan.calibration else None
        facts = {"file": GIVEN, "calibration": calibration, "validation": parts.get(VALIDATION)}
        result = await run.execute(PROCESS, OptimisationSpec(how=plan.how, **facts))
        digest = await run.artifacts.put_file(run.path(result.files["model"]))
        metrics = result.data["metrics"]

        async def change(work: Work[None]) -> None:
            work.say(optimised(run.task.id, plan, metrics, digest))
            await run.succeed(work, {"digest": digest, "metrics": metrics})

        await run.write(change)

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all."""

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all."""


async def _parts(run: TaskRun, plan: Improved) -> dict[str, str]:
    """The files, by part, of what is read of the version's data set."""
    if plan.dataset is None:
        return {}
    try:
        dataset = await run.ask(GetDataset(name=plan.dataset, digest=plan.dataset_digest))
    except NotFound:
        raise TaskFailed("DatasetGone", f"data set {plan.dataset} is not there any more") from None
    wanted = {part for part in (VALIDATION, plan.calibration) if part in dataset.parts}
    for part in wanted:
        await run.artifacts.get_file(dataset.parts[part], run.path(f"{part}.npz"))
    return {part: f"{part}.npz" for part in wanted}
