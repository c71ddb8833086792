"""The job of a study: it draws parameters, has them trained, ends what falls behind, and makes the best a version.

All that it knows it reads from its trials' tasks, so another attempt goes on where this one was.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import library
from services.trainer.acceptance import accept_plan
from services.trainer.domain import KIND as TRAIN
from services.trainer.domain import Mark, Plan, completed
from services.trainer.tuning import store
from services.trainer.tuning.domain import KIND as TUNE
from services.trainer.tuning.domain import (
    StudyPlan,
    Trial,
    TrialState,
    front,
    measured_name,
    over,
    progress,
    room,
    settled,
    told,
    trial_plan,
    without_seed,
)
from services.trainer.tuning.pruning import pruned_at
from services.trainer.tuning.sampling import Draw, draw
from services.trainer.tuning.trials import go_on, hold_up, prune, read_trial, stop
from shared.db import Connection
from shared.events.common import TaskState
from shared.tasks import store as tasks
from shared.tasks.run import Job, TaskFailed, TaskRun
from shared.tasks.runner import TaskRunner
from shared.tasks.store import Task, new_task_id
from shared.tuning import Objective, Pruner
from shared.work import Work
from shared.worker import Progress

LOOK_SECONDS = 0.5


class TuneJob(Job):
    """Run one study."""

    kind = TUNE

    def __init__(self, runner: TaskRunner) -> None:
        self._runner = runner

    async def execute(self, run: TaskRun) -> None:
        await Studying(run, self._runner).execute()

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        await stop(work, task.id)

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        await stop(work, task.id)

    async def on_paused(self, task: Task, work: Work[Any]) -> None:
        await tasks.settle(work.tx, task, {"paused_at": datetime.now(UTC).isoformat()})
        await hold_up(work, task.id)


class Studying:
    """One attempt of a study."""

    def __init__(self, run: TaskRun, runner: TaskRunner) -> None:
        self._run, self._runner = run, runner
        self._plan = StudyPlan(model=run.task.model, **run.task.spec)
        self._study = self._plan.parameters
        self._model = library.model(self._plan.model)
        self._usual = self._model.validate(without_seed(self._study.config)).model_dump(mode="json")
        self._objectives: tuple[Objective, ...] = ()
        self._ended: dict[str, Trial] = {}
        self._trials: list[Trial] = []

    async def execute(self) -> None:
        await self._begin()
        while not (why := await self._look()):
            await self._prune()
            for _ in range(room(self._study, self._trials)):
                await self._try_another()
            self._tell()
            await asyncio.sleep(LOOK_SECONDS)
        await self._finish(why)

    @property
    def _seconds(self) -> float:
        """How long the study has gone on, without its pauses."""
        began = self._run.task.started_at or datetime.now(UTC)
        return (datetime.now(UTC) - began).total_seconds() - self._plan.rested

    async def _begin(self) -> None:
        if self._plan.paused_at is None:
            return
        rested = self._plan.rested + (datetime.now(UTC) - self._plan.paused_at).total_seconds()

        async def change(work: Work[None]) -> None:
            self._run.task = await tasks.settle(work.tx, self._run.task, {"paused_at": None, "rested": rested})

        await self._run.write(change)
        self._plan = self._plan.model_copy(update={"paused_at": None, "rested": rested})

    async def _look(self) -> str:
        """See what became of the trials; why the study is over, if it is."""
        async with self._runner.database.connection() as connection:
            found = await store.children(connection, self._run.task.id, list(self._ended))
            await self._settle_objectives(connection, found)
            curves = await self._curves(connection, found)
        await self._wake_rested(found)
        seen = [read_trial(task, self._objectives, curves.get(task.id, {})) for task in found]
        self._trials = sorted([*self._ended.values(), *seen], key=lambda trial: trial.number)
        self._ended |= {trial.task_id: trial for trial in seen if not trial.goes_on}
        return over(self._study, self._objectives, self._trials, self._seconds)

    async def _settle_objectives(self, connection: Connection, found: list[Task]) -> None:
        """Once something is measured it is known which metrics are meant."""
        if self._objectives:
            return
        names = {name for task in found for name in task.result.get("metrics", {})}
        names |= set(await store.measured(connection, [task.id for task in found]))
        if names:
            self._objectives = settled(self._study, self._model.gate, names)

    async def _curves(self, connection: Connection, found: list[Task]) -> dict[str, dict[int, float]]:
        if self._study.pruner is Pruner.NONE or not self._objectives:
            return {}
        ids = [task.id for task in found]
        names = await store.measured(connection, ids)
        return await store.curves(connection, ids, measured_name(self._objectives[0], names))

    async def _wake_rested(self, found: list[Task]) -> None:
        """Trials that rested with their study go on with it."""
        for task in found:
            if task.state is TaskState.PAUSED and Mark.model_validate(task.spec["trial"]).paused:
                await self._run.write(partial(go_on, task_id=task.id))
                await self._runner.wake()

    async def _prune(self) -> None:
        if not self._objectives:
            return
        for trial in [trial for trial in self._trials if trial.state is TrialState.RUNNING]:
            epochs = self._usual["epochs"]
            epoch = pruned_at(self._study.pruner, self._objectives[0], trial, self._trials, epochs)
            if epoch is not None:
                await self._run.write(partial(prune, task_id=trial.task_id, epoch=epoch))
                self._run.log.tell("task", line=f"trial {trial.number} fell behind at epoch {epoch}")

    async def _try_another(self) -> None:
        drawn = await asyncio.to_thread(draw, self._study, self._objectives, self._trials, self._usual)
        mark = Mark(number=len(self._trials), parameters=drawn.parameters, generation=drawn.generation)
        plan = trial_plan(self._plan, self._model, drawn.parameters).model_copy(update={"trial": mark})
        task_id = new_task_id(TRAIN)

        async def change(work: Work[None]) -> None:
            if not await store.is_there(work.tx, task_id):
                terms = self._plan.terms.model_copy(update={"priority": self._run.task.priority})
                await accept_plan(work, plan, task_id, terms, self._run.task.id)

        await self._run.write(change)
        await self._runner.wake()
        self._trials.append(_begun(task_id, mark.number, drawn))

    def _tell(self) -> None:
        fraction = progress(self._study, self._trials, self._seconds)
        left = self._seconds * (1 - fraction) / fraction if fraction else None
        message = told(self._study, self._objectives, self._trials)
        self._run.progress(Progress(fraction=min(fraction, 0.999), message=message, seconds_left=left))

    async def _finish(self, why: str) -> None:
        best = front(self._objectives, self._trials)
        if not best:
            errors = [trial.error for trial in self._trials if trial.error]
            message = f"no trial of {len(self._trials)} ended well ({why})"
            raise TaskFailed("NoTrialSucceeded", f"{message}; the last: {errors[-1]}" if errors else message)
        note = told(self._study, self._objectives, self._trials)
        result = self._result(best, why)

        async def change(work: Work[None]) -> None:
            await stop(work, self._run.task.id)
            winner = await store.child(work.tx, best[0].task_id)
            plan = Plan(model=winner.model, **winner.spec)
            assert plan.trial is not None and plan.trial.trained is not None
            work.say(completed(winner.id, plan, self._model, plan.trial.trained, winner.result["digest"]))
            await self._run.succeed(work, result | {"digest": winner.result["digest"]}, note)

        await self._run.write(change)

    def _result(self, best: list[Trial], why: str) -> dict[str, Any]:
        states = [TrialState.CANCELLED if trial.goes_on else trial.state for trial in self._trials]
        names = [one.metric for one in self._objectives]
        return {
            "ended_by": why,
            "trial": best[0].number,
            "task_id": best[0].task_id,
            "parameters": best[0].parameters,
            "values": dict(zip(names, best[0].values, strict=True)),
            "front": [trial.number for trial in best],
            "trials": {state.value: states.count(state) for state in dict.fromkeys(states)},
        }


def _begun(task_id: str, number: int, drawn: Draw) -> Trial:
    return Trial(number, task_id, drawn.parameters, TrialState.QUEUED, generation=drawn.generation)
