"""A service that only runs tasks: within a test, or as `python -m tests.integration.task_service`."""

from dataclasses import dataclass
from typing import Any

from services.trainer.admission.desk import OwnDesk
from services.trainer.settings import Settings
from shared.events.training import EpochCompleted, TrainingCancelled, TrainingFailed
from shared.handlers import Handlers
from shared.service import Service, run
from shared.tasks import store
from shared.tasks.grounds import Ground
from shared.tasks.handlers import TASK_RPC
from shared.tasks.run import Job, TaskRun
from shared.tasks.runner import TaskRunner
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Checkpoint, Metrics

CHILD = "tests.integration.task_child"
HANDLERS = Handlers("trainer", rpc=TASK_RPC)


@dataclass(frozen=True)
class Parts:
    runner: TaskRunner


class StepJob(Job):
    """Steps with a checkpoint each; resumes after the last one."""

    kind = "train"

    async def execute(self, run: TaskRun) -> None:
        found: list[Any] = []

        async def look(work: Work[None]) -> None:
            found[:] = [await store.latest_file(work.tx, run.task, "checkpoint")]

        await run.write(look)
        resume = "resume.txt" if found[0] else None
        if found[0]:
            await run.artifacts.get_file(found[0][1], run.path("resume.txt"))

        async def on_report(report: Metrics | Checkpoint) -> None:
            if isinstance(report, Checkpoint):
                await self._keep(run, report)

        result = await run.execute(CHILD, run.task.spec["parameters"] | {"resume": resume}, on_report)
        digest = await run.artifacts.put_file(run.path(result.files["out"]))

        async def end(work: Work[None]) -> None:
            await run.succeed(work, {"digest": digest, **result.data})

        await run.write(end)

    async def _keep(self, run: TaskRun, report: Checkpoint) -> None:
        digest = await run.artifacts.put_file(run.path(report.file))

        async def keep(work: Work[None]) -> None:
            if await store.save_file(work.tx, run.task, "checkpoint", report.epoch, digest):
                work.say(EpochCompleted(task_id=run.task.id, epoch=report.epoch))
            await store.save_metrics(work.tx, run.task, report.epoch, {"loss": 1 / report.epoch})
            await store.drop_files(work.tx, run.task, "checkpoint", report.epoch)

        await run.write(keep)

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        work.say(TrainingFailed(task_id=task.id, error_class=task.error_class, error_message=task.error_message))

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        work.say(TrainingCancelled(task_id=task.id))


def build(settings: Settings | None = None, ground: Ground | None = None) -> Service:
    settings = settings or Settings()
    service = Service("trainer", settings)
    assert service.database
    runner = TaskRunner(service, settings, OwnDesk(service.database, settings.project_weights))
    runner.add(StepJob())
    if ground:
        runner.add_ground(ground)
    service.handle(HANDLERS, Parts(runner))
    service.add_loop("tasks", runner.run)
    service.add_closing(runner.drain)
    return service


if __name__ == "__main__":
    run(build)
