"""What is kept of a training while it goes on: checkpoints, the best of them, metrics, a look at answers, a profile.

An epoch's metrics, checkpoint and event commit together, so a later attempt goes on after exactly what was told.
"""

from services.trainer import store as own
from services.trainer.domain import Plan
from shared.events.training import EpochCompleted
from shared.tasks import store
from shared.tasks.run import TaskRun
from shared.work import Work
from shared.worker import Checkpoint, Insights, Kept, Metrics

CHECKPOINT = "checkpoint"
BEST = "best"


class Keeping:
    """Keeps what the process of one attempt reports."""

    def __init__(self, run: TaskRun, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._measured: dict[int, dict[str, float]] = {}

    async def last(self) -> dict[str, str]:
        """The digests of the last checkpoint, and of the best before it where that will be needed."""
        roles = {"resume": CHECKPOINT} | ({"best": BEST} if self._plan.training.model == "best" else {})
        found: dict[str, str] = {}

        async def change(work: Work[None]) -> None:
            for name, role in roles.items():
                if file := await store.latest_file(work.tx, self._run.task, role):
                    found[name] = file[1]

        await self._run.write(change)
        return found

    async def on_report(self, report: Metrics | Checkpoint | Insights | Kept) -> None:
        if isinstance(report, Metrics):
            self._measured[report.epoch] = report.values
        elif isinstance(report, Checkpoint):
            await self._keep_checkpoint(report)
        elif isinstance(report, Insights):
            await self._keep_insights(report)
        else:
            await self._keep_file(report)

    async def _keep_checkpoint(self, report: Checkpoint) -> None:
        path = self._run.path(report.file)
        digest = await self._run.artifacts.put_file(path)
        surplus: set[str] = set()

        async def change(work: Work[None]) -> None:
            task = self._run.task
            is_new = await store.save_file(work.tx, task, CHECKPOINT, report.steps, digest)
            if report.is_best:
                await store.save_file(work.tx, task, BEST, report.steps, digest)
                surplus.update(await store.drop_files(work.tx, task, BEST, before=report.steps))
            if not report.step:
                await self._note_epoch(work, report.epoch, is_new)
            surplus.update(await store.drop_files(work.tx, task, CHECKPOINT, before=report.steps))

        await self._run.write(change)
        path.unlink()
        for old in surplus:
            await self._run.artifacts.delete(old)

    async def _note_epoch(self, work: Work[None], epoch: int, is_new: bool) -> None:
        metrics = self._measured.pop(epoch, {})
        await store.save_metrics(work.tx, self._run.task, epoch, metrics)
        if is_new:
            epochs = self._plan.parameters["epochs"]
            facts = {"task_id": self._run.task.id, "model": self._plan.model, "epoch": epoch, "epochs": epochs}
            work.say(EpochCompleted(**facts, metrics=metrics))

    async def _keep_insights(self, report: Insights) -> None:
        async def change(work: Work[None]) -> None:
            await own.save_insights(work.tx, self._run.task.id, report.epoch, report.facts)

        await self._run.write(change)

    async def _keep_file(self, report: Kept) -> None:
        path = self._run.path(report.file)
        digest = await self._run.artifacts.put_file(path)

        async def change(work: Work[None]) -> None:
            await store.save_file(work.tx, self._run.task, report.role, 0, digest)

        await self._run.write(change)
        path.unlink()
