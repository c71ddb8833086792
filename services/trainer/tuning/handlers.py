"""What people ask of studies."""

import asyncio
from typing import Any

import library
from services.trainer.domain import fits
from services.trainer.on_ray.ground import check_place
from services.trainer.parts import Work
from services.trainer.tuning import charts, store
from services.trainer.tuning.domain import KIND, STUDY_TERMS, StudyPlan, Trial, planned, settled
from services.trainer.tuning.trials import read_trial
from shared.errors import Conflict, InvalidInput
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.registry import GetDataset
from shared.rpc.trainer import GetStudy, StudyView, SubmitStudy, TaskAccepted, TrialView
from shared.tasks import dependencies
from shared.tasks import store as tasks
from shared.tasks.quota import check_quota
from shared.tasks.run import accept
from shared.tasks.state import short
from shared.tasks.store import Task
from shared.tasks.terms import Terms
from shared.tuning import Objective


async def submit_study(request: SubmitStudy, work: Work) -> TaskAccepted:
    await check_quota(work, KIND)
    task = await accept_study(work, request)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


async def accept_study(work: Work, order: SubmitStudy, parent: str = "") -> Task:
    """Raises InvalidInput naming the field, NotFound for a member or data set that is not there."""
    plan = await planned_study(work, order)
    await dependencies.check(work, order.terms.after)
    terms = Terms(**order.terms.model_dump(include=STUDY_TERMS))
    spec = plan.model_dump(mode="json", exclude={"model"})
    task = await accept(work, KIND, plan.model, spec, terms=terms, parent=parent)
    work.then(work.parts.runner.wake)
    return task


async def planned_study(work: Work, order: SubmitStudy) -> StudyPlan:
    """What is asked for, completed and checked; raises as accept_study does."""
    check_place(order.terms, work.parts.settings)
    model = library.model(order.model)
    plan = planned(order, model)
    if order.dataset is not None and order.dataset != plan.dataset:
        found = await work.parts.bus.ask(GetDataset(name=order.dataset), work.context)
        fits(model, order.dataset, found.facts)
        plan = plan.model_copy(update={"dataset": order.dataset, "dataset_digest": found.digest})
    return plan


async def get_study(request: GetStudy, work: Work) -> StudyView:
    task = await tasks.find(work.tx, work.project, request.task_id)
    if task.kind != KIND:
        raise Conflict(f"task {task.id} is of kind {task.kind}: only those of kind {KIND} are studies", field="task_id")
    children = await store.children(work.tx, task.id)
    epochs = await store.epochs(work.tx, [child.id for child in children])
    return await asyncio.to_thread(_view, task, children, epochs)


def _view(task: Task, children: list[Task], epochs: dict[str, int]) -> StudyView:
    plan = StudyPlan(model=task.model, **task.spec)
    study = plan.parameters
    objectives = _objectives(plan, children)
    trials = [read_trial(child, objectives) for child in children]
    best = charts.best_numbers(objectives, trials)
    mattered = charts.importances(study, objectives, trials)
    return StudyView(
        task_id=task.id,
        model=task.model,
        state=short(task.state),
        objectives=list(objectives or study.objectives),
        trials=[_trial(trial, epochs.get(trial.task_id, 0), trial.number in best) for trial in trials],
        best=best,
        winner=task.result.get("trial"),
        importances=mattered,
        parallel=charts.parallel(study, objectives, trials),
        contours=charts.contours(study, trials, list(mattered)),
    )


def _objectives(plan: StudyPlan, children: list[Task]) -> tuple[Objective, ...]:
    """None before a trial has ended well; a metric that is not measured is the study's to tell of."""
    names = {name for child in children for name in child.result.get("metrics", {})}
    try:
        return settled(plan.parameters, library.model(plan.model).gate, names) if names else ()
    except InvalidInput:
        return ()


def _trial(trial: Trial, epochs: int, is_best: bool) -> TrialView:
    return TrialView(
        number=trial.number,
        task_id=trial.task_id,
        state=trial.state.value,
        parameters=trial.parameters,
        values=list(trial.values),
        epochs=epochs,
        is_best=is_best,
        error_message=trial.error,
    )


TUNING_RPC: dict[type[Request[Any]], RpcHandler] = {SubmitStudy: submit_study, GetStudy: get_study}
