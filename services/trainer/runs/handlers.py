"""What clients of MLflow's protocol ask of runs, their experiments, models and files."""

import time
from typing import Any

from services.trainer.parts import Work
from services.trainer.runs import domain, saying, store
from services.trainer.runs.domain import KIND
from services.trainer.runs.searching import Wanted
from shared.events.common import TaskState
from shared.handlers import RpcHandler
from shared.names import new_id
from shared.rpc.base import Done, Request
from shared.rpc.runs import (
    ChangeExperiment,
    ChangeLoggedModel,
    ChangeRun,
    CreateExperiment,
    CreateLoggedModel,
    DropRunFiles,
    Experiments,
    ExperimentView,
    FindExperiment,
    FindLoggedModel,
    FindRun,
    FindRunFile,
    GetHistory,
    History,
    KeepRunFile,
    ListRunFiles,
    LoggedModel,
    LoggedModels,
    LogRun,
    RunFile,
    RunFiles,
    Runs,
    RunView,
    Search,
    SearchExperiments,
    SearchLoggedModels,
    SearchRuns,
    StartRun,
)
from shared.tasks import store as tasks
from shared.tasks.run import tell


async def create_experiment(request: CreateExperiment, work: Work) -> ExperimentView:
    tags = domain.with_texts({}, request.tags)
    number = await store.create_experiment(work.tx, work.project, request.name, tags)
    return await store.experiment(work.tx, work.project, number)


async def find_experiment(request: FindExperiment, work: Work) -> ExperimentView:
    await store.default_experiment(work.tx, work.project)
    if request.name is not None:
        return await store.experiment_named(work.tx, work.project, request.name)
    return await _experiment(request.id or "", work)


async def _experiment(number: str, work: Work) -> ExperimentView:
    await store.default_experiment(work.tx, work.project)
    return await store.experiment(work.tx, work.project, domain.experiment_number(number))


async def change_experiment(request: ChangeExperiment, work: Work) -> Done:
    known = await _experiment(request.id, work)
    changes: dict[str, Any] = {"tags": domain.with_texts(known.tags, request.tags, request.dropped)}
    changes |= request.model_dump(include={"name", "lifecycle"}, exclude_none=True)
    await store.change_experiment(work.tx, work.project, known.model_copy(update=changes))
    return Done()


async def search_experiments(request: SearchExperiments, work: Work) -> Experiments:
    await store.default_experiment(work.tx, work.project)
    found = await store.search_experiments(work.tx, work.project, _wanted(request.search))
    shown, after = domain.page(found, request.search)
    return Experiments(experiments=shown, after=after)


def _wanted(search: Search) -> Wanted:
    return Wanted(search, domain.conditions(search.filter), domain.orders(search.order_by))


async def start_run(request: StartRun, work: Work) -> RunView:
    """A task of kind run runs at once, under nobody's lease: its client says how it goes."""
    experiment = await _experiment(request.experiment, work)
    task = await tasks.insert(work.tx, KIND, "", {"parameters": {}}, work.context)
    name = request.name or f"run {task.id[-12:]}"
    tell(work, await tasks.begin_unheld(work.tx, task, name))
    run = RunView(
        id=task.id,
        experiment=experiment.id,
        name=name,
        user=request.user,
        status="RUNNING",
        lifecycle="active",
        started_at=request.started_at or int(time.time() * 1000),
        tags=domain.with_texts({}, request.tags),
    )
    await store.insert_run(work.tx, work.project, run)
    return run


async def change_run(request: ChangeRun, work: Work) -> RunView:
    """End, rename, delete or restore a run; one that has ended stays so, and may still be written to."""
    task = await tasks.find(work.tx, work.project, request.id, lock=True)
    known = await store.run(work.tx, work.project, request.id)
    if request.status and request.status not in domain.ENDS:
        domain.check_open(task.state)
    changes = request.model_dump(include={"name", "lifecycle", "ended_at"}, exclude_none=True)
    if task.state is TaskState.RUNNING and request.status:
        changes["status"] = request.status
        if end := domain.ENDS.get(request.status):
            result = {"metrics": {metric.name: metric.value for metric in known.metrics}}
            error = ("RunFailed", "its client said that it failed") if end is TaskState.FAILED else ("", "")
            tell(work, await tasks.set_state(work.tx, task, end, error=error, result=result, note=known.name))
    await store.change_run(work.tx, known.model_copy(update=changes))
    return await store.run(work.tx, work.project, request.id)


async def find_run(request: FindRun, work: Work) -> RunView:
    return await store.run(work.tx, work.project, request.id)


async def search_runs(request: SearchRuns, work: Work) -> Runs:
    numbers = [domain.experiment_number(text) for text in request.experiments]
    found = await store.search_runs(work.tx, work.project, numbers, _wanted(request.search))
    shown, after = domain.page(found, request.search)
    return Runs(runs=shown, after=after)


async def log_run(request: LogRun, work: Work) -> Done:
    await saying.log_run(request, work)
    return Done()


async def get_history(request: GetHistory, work: Work) -> History:
    await store.run(work.tx, work.project, request.id)
    return await saying.history(request, work)


async def keep_run_file(request: KeepRunFile, work: Work) -> Done:
    owner, path = domain.owner_of_path(request.path)
    await store.keep_file(work.tx, work.project, owner, path, request.digest, request.size)
    return Done()


async def find_run_file(request: FindRunFile, work: Work) -> RunFile:
    return await store.file(work.tx, work.project, request.path)


async def list_run_files(request: ListRunFiles, work: Work) -> RunFiles:
    owner, path = domain.owner_of_path(request.path)
    return RunFiles(files=await store.files(work.tx, work.project, owner, path))


async def drop_run_files(request: DropRunFiles, work: Work) -> Done:
    owner, path = domain.owner_of_path(request.path)
    await store.drop_files(work.tx, work.project, owner, path)
    return Done()


async def create_logged_model(request: CreateLoggedModel, work: Work) -> LoggedModel:
    experiment = await _experiment(request.experiment, work)
    if request.run:
        await store.run(work.tx, work.project, request.run)
    identity = new_id().replace("-", "")
    model = LoggedModel(
        id=f"m-{identity}",
        experiment=experiment.id,
        name=request.name or f"model-{identity[-12:]}",
        model_type=request.model_type,
        run=request.run,
        status="LOGGED_MODEL_PENDING",
        tags=domain.with_texts({}, request.tags),
        params=domain.with_texts({}, request.params),
        created_at=0,
        updated_at=0,
    )
    await store.insert_model(work.tx, work.project, model)
    return await store.model(work.tx, work.project, model.id)


async def change_logged_model(request: ChangeLoggedModel, work: Work) -> LoggedModel:
    known = await store.model(work.tx, work.project, request.id)
    changes: dict[str, Any] = {
        "tags": domain.with_texts(known.tags, request.tags, request.dropped),
        "params": domain.with_parameters(known.params, request.params),
        "status": request.status or known.status,
    }
    changed = known.model_copy(update=changes)
    await store.change_model(work.tx, work.project, changed, request.lifecycle or "active")
    return changed


async def find_logged_model(request: FindLoggedModel, work: Work) -> LoggedModel:
    return await store.model(work.tx, work.project, request.id)


async def search_logged_models(request: SearchLoggedModels, work: Work) -> LoggedModels:
    numbers = [domain.experiment_number(text) for text in request.experiments]
    found = await store.search_models(work.tx, work.project, numbers, _wanted(request.search))
    shown, after = domain.page(found, request.search)
    return LoggedModels(models=shown, after=after)


RUN_RPC: dict[type[Request[Any]], RpcHandler] = {
    CreateExperiment: create_experiment,
    FindExperiment: find_experiment,
    ChangeExperiment: change_experiment,
    SearchExperiments: search_experiments,
    StartRun: start_run,
    ChangeRun: change_run,
    FindRun: find_run,
    SearchRuns: search_runs,
    LogRun: log_run,
    GetHistory: get_history,
    KeepRunFile: keep_run_file,
    FindRunFile: find_run_file,
    ListRunFiles: list_run_files,
    DropRunFiles: drop_run_files,
    CreateLoggedModel: create_logged_model,
    ChangeLoggedModel: change_logged_model,
    FindLoggedModel: find_logged_model,
    SearchLoggedModels: search_logged_models,
}
