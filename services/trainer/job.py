"""The job of a training: its data set, its process, checkpoints on the way, and the model at the end."""

from typing import Any

import library
from library.base import Part
from library.training.facts import Position, position_of
from services.trainer import reproduction
from services.trainer.domain import Plan, Trained, completed
from services.trainer.engine import TrainingSpec
from services.trainer.keeping import Keeping
from services.trainer.preparation import prepared
from services.trainer.tuning.store import mark
from shared.errors import NotFound
from shared.events.training import TrainingCancelled, TrainingFailed, TrainingStarted
from shared.rpc.registry import DatasetView, GetDataset
from shared.tasks import store
from shared.tasks.run import Job, TaskFailed, TaskRun
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Result, Seat

TRAIN = "services.trainer.engine"
RESUME_FILE = "resume.safetensors"
BEST_FILE = "best.safetensors"
START = Position(0, 0)


class TrainJob(Job):
    """Train one model of the library."""

    kind = "train"

    async def execute(self, run: TaskRun) -> None:
        plan = Plan(model=run.task.model, **run.task.spec)
        await Training(run, plan).execute()

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        facts = {"error_class": task.error_class, "error_message": task.error_message}
        work.say(TrainingFailed(task_id=task.id, model=task.model, **facts))

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        work.say(TrainingCancelled(task_id=task.id, model=task.model))


class Training:
    """One attempt of a training."""

    def __init__(self, run: TaskRun, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._model = library.model(plan.model)
        self._keeping = Keeping(run, plan)

    async def execute(self) -> None:
        dataset = await self._dataset()
        for part in (Part.TRAIN, Part.VALIDATION):
            await self._run.artifacts.get_file(dataset.parts[part], self._run.path(f"{part}.npz"))
        files = await self._start()
        result = await self._run.execute(TRAIN, self._spec(files), self._keeping.on_report)
        await self._finish(result)

    async def _dataset(self) -> DatasetView:
        """The data set of the first attempt; its parts are made where nobody did before."""
        wanted = GetDataset(name=self._plan.dataset, digest=self._plan.dataset_digest)
        try:
            dataset = await self._run.ask(wanted)
        except NotFound:
            if not self._plan.is_of_library:
                raise TaskFailed("DatasetGone", f"data set {self._plan.dataset} is not there any more") from None
            dataset = await prepared(self._run, self._plan.dataset, {"dataset": self._plan.dataset}, is_step=True)
        if self._plan.dataset_digest is None:
            await self._settle(dataset.digest)
        if self._plan.dataset_digest != dataset.digest:
            raise TaskFailed(
                "DatasetChanged", f"data set {dataset.name} {self._plan.dataset_digest} cannot be made again"
            )
        return dataset

    async def _settle(self, digest: str) -> None:
        self._plan = self._plan.model_copy(update={"dataset_digest": digest})

        async def change(work: Work[None]) -> None:
            self._run.task = await store.settle(work.tx, self._run.task, {"dataset_digest": digest})

        await self._run.write(change)

    async def _start(self) -> dict[str, str]:
        """Say that the training starts; the files of the last checkpoint and the best where there are some."""
        kept = await self._keeping.last()
        names = {"resume": RESUME_FILE, "best": BEST_FILE}
        for role, digest in kept.items():
            await self._run.artifacts.get_file(digest, self._run.path(names[role]))
        position = position_of(self._run.path(RESUME_FILE)) if kept else START

        async def change(work: Work[None]) -> None:
            task = self._run.task
            facts = {"attempt": task.fence, "resumed_epoch": position.epoch}
            work.say(TrainingStarted(task_id=task.id, model=task.model, **facts))

        await self._run.write(change)
        if kept:
            self._run.log.tell("task", line=f"attempt {self._run.task.fence} goes on {position}")
        return {role: names[role] for role in kept}

    def _spec(self, files: dict[str, str]) -> TrainingSpec:
        return TrainingSpec(
            task_id=self._run.task.id,
            model=self._plan.model,
            config=self._plan.config,
            seed=self._plan.seed,
            threads=self._run.threads,
            train=f"{Part.TRAIN}.npz",
            validation=f"{Part.VALIDATION}.npz",
            training=self._plan.training,
            seat=Seat(workers=workers) if (workers := self._plan.training.workers) > 1 else None,
            **files,
        )

    async def _finish(self, result: Result) -> None:
        trained = Trained.model_validate(result.data)
        digest = await self._run.artifacts.put_file(self._run.path(result.files["model"]))
        facts = {"digest": digest, "metrics": trained.metrics, "weights": trained.weights}
        facts["record"] = reproduction.record(self._plan, trained)
        if trained.epoch != self._plan.parameters["epochs"]:
            facts["epoch"] = trained.epoch

        async def change(work: Work[None]) -> None:
            if self._plan.reproduces:
                facts["reproduction"] = await reproduction.compared(work, self._plan.reproduces, facts)
            else:
                await self._say_completed(work, trained, digest)
            await self._run.succeed(work, facts)

        await self._run.write(change)

    async def _say_completed(self, work: Work[Any], trained: Trained, digest: str) -> None:
        """Of a trial the study says it, where it is the best."""
        if self._plan.trial is None:
            work.say(completed(self._run.task.id, self._plan, self._model, trained, digest))
        else:
            await mark(work.tx, self._run.task, {"trained": trained.model_dump(mode="json")})
