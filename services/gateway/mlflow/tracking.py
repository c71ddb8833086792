"""Experiments and runs over MLflow's REST protocol, below /mlflow/api/2.0/mlflow."""

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field

from services.gateway.caller import Caller, CallerOf
from services.gateway.mlflow import documents
from services.gateway.mlflow.documents import Given, GivenMetric, Pair, answer, paged, texts
from services.gateway.routes.declare import Routes
from shared.permissions import Permission
from shared.rpc.base import Request
from shared.rpc.runs import (
    MOST_AT_ONCE,
    ChangeExperiment,
    ChangeRun,
    CreateExperiment,
    FindExperiment,
    FindRun,
    GetHistory,
    Key,
    ListRunFiles,
    LogRun,
    Moment,
    Name,
    OrderText,
    Search,
    SearchExperiments,
    SearchRuns,
    StartRun,
    Status,
    Text,
    View,
)

PREFIX = "/mlflow/api/2.0/mlflow"
HIDDEN: dict[str, Any] = {"include_in_schema": False, "response_model": None}
ROUTES = Routes("mlflow", PREFIX)
READ, WRITE = Permission.TASKS_READ, Permission.TASKS_WRITE
Token = Annotated[str, Field(pattern=r"^\d{0,9}$")]


async def ask(caller: Caller, request: "Request[Any]") -> Any:
    """Trainer keeps what MLflow's clients say."""
    return await caller.ask(request, service="trainer")


class NewExperiment(Given):
    name: Key
    tags: list[Pair] = []


class ExperimentOf(Given):
    experiment_id: str
    new_name: Key | None = None


class ExperimentTag(Pair):
    experiment_id: str


class SearchOf(Given):
    """What all searches say alike."""

    experiment_ids: Annotated[list[str], Field(max_length=1000)] = []
    filter: Annotated[str, Field(max_length=10_000)] = ""
    order_by: Annotated[list[OrderText], Field(max_length=20)] = []
    max_results: Annotated[int, Field(ge=1, le=50_000)] = 1000
    page_token: Token = ""
    view_type: View | None = None
    run_view_type: View | None = None

    def search(self) -> Search:
        view = self.view_type or self.run_view_type or "ACTIVE_ONLY"
        offset = int(self.page_token or 0)
        return Search(filter=self.filter, order_by=self.order_by, limit=self.max_results, offset=offset, view=view)


class NewRun(Given):
    experiment_id: str = "0"
    run_name: Name = ""
    user_id: Annotated[str, Field(max_length=250)] = ""
    start_time: Moment = 0
    tags: list[Pair] = []


class RunOf(Given):
    run_id: str
    run_name: Name | None = None
    status: Status | None = None
    end_time: Moment | None = None


class MetricOf(GivenMetric):
    run_id: str


class PairOf(Pair):
    run_id: str


class BatchOf(Given):
    run_id: str
    metrics: list[GivenMetric] = Field(default=[], max_length=MOST_AT_ONCE)
    params: list[Pair] = Field(default=[], max_length=MOST_AT_ONCE)
    tags: list[Pair] = Field(default=[], max_length=MOST_AT_ONCE)


class InputsOf(Given):
    run_id: str
    datasets: list[dict[str, Any]] = Field(default=[], max_length=MOST_AT_ONCE)
    models: list[dict[str, Any]] = Field(default=[], max_length=MOST_AT_ONCE)


class ModelOf(Given):
    run_id: str
    model_json: Text


@ROUTES.add("POST", "/experiments/create", WRITE, **HIDDEN)
async def create_experiment(body: NewExperiment, caller: CallerOf) -> Response:
    made = await ask(caller, CreateExperiment(name=body.name, tags=texts(body.tags)))
    return answer({"experiment_id": made.id})


@ROUTES.add("GET", "/experiments/get", READ, **HIDDEN)
async def get_experiment(experiment_id: str, caller: CallerOf) -> Response:
    found = await ask(caller, FindExperiment(id=experiment_id))
    return answer({"experiment": documents.experiment(found)})


@ROUTES.add("GET", "/experiments/get-by-name", READ, **HIDDEN)
async def get_experiment_by_name(experiment_name: str, caller: CallerOf) -> Response:
    found = await ask(caller, FindExperiment(name=experiment_name))
    return answer({"experiment": documents.experiment(found)})


async def _experiments(search: Search, caller: Caller) -> Response:
    page = await ask(caller, SearchExperiments(search=search))
    return answer(paged({"experiments": [documents.experiment(found) for found in page.experiments]}, page.after))


@ROUTES.add("POST", "/experiments/search", READ, **HIDDEN)
async def search_experiments(body: SearchOf, caller: CallerOf) -> Response:
    return await _experiments(body.search(), caller)


@ROUTES.add("GET", "/experiments/search", READ, **HIDDEN)
async def list_experiments(given: Annotated[SearchOf, Query()], caller: CallerOf) -> Response:
    return await _experiments(given.search(), caller)


@ROUTES.add("POST", "/experiments/update", WRITE, **HIDDEN)
async def rename_experiment(body: ExperimentOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeExperiment(id=body.experiment_id, name=body.new_name))
    return answer({})


@ROUTES.add("POST", "/experiments/delete", WRITE, **HIDDEN)
async def delete_experiment(body: ExperimentOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeExperiment(id=body.experiment_id, lifecycle="deleted"))
    return answer({})


@ROUTES.add("POST", "/experiments/restore", WRITE, **HIDDEN)
async def restore_experiment(body: ExperimentOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeExperiment(id=body.experiment_id, lifecycle="active"))
    return answer({})


@ROUTES.add("POST", "/experiments/set-experiment-tag", WRITE, **HIDDEN)
async def tag_experiment(body: ExperimentTag, caller: CallerOf) -> Response:
    await ask(caller, ChangeExperiment(id=body.experiment_id, tags={body.key: body.value}))
    return answer({})


@ROUTES.add("POST", "/experiments/delete-experiment-tag", WRITE, **HIDDEN)
async def untag_experiment(body: ExperimentTag, caller: CallerOf) -> Response:
    await ask(caller, ChangeExperiment(id=body.experiment_id, dropped=[body.key]))
    return answer({})


@ROUTES.add("POST", "/runs/create", WRITE, **HIDDEN)
async def create_run(body: NewRun, caller: CallerOf) -> Response:
    order = StartRun(
        experiment=body.experiment_id,
        name=body.run_name or texts(body.tags).get("mlflow.runName", ""),
        user=body.user_id,
        started_at=body.start_time,
        tags=texts(body.tags),
    )
    return answer({"run": documents.run(await ask(caller, order))})


@ROUTES.add("GET", "/runs/get", READ, **HIDDEN)
async def get_run(run_id: str, caller: CallerOf) -> Response:
    return answer({"run": documents.run(await ask(caller, FindRun(id=run_id)))})


@ROUTES.add("POST", "/runs/update", WRITE, **HIDDEN)
async def update_run(body: RunOf, caller: CallerOf) -> Response:
    order = ChangeRun(id=body.run_id, name=body.run_name or None, status=body.status, ended_at=body.end_time)
    return answer({"run_info": documents.run_info(await ask(caller, order))})


@ROUTES.add("POST", "/runs/delete", WRITE, **HIDDEN)
async def delete_run(body: RunOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeRun(id=body.run_id, lifecycle="deleted"))
    return answer({})


@ROUTES.add("POST", "/runs/restore", WRITE, **HIDDEN)
async def restore_run(body: RunOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeRun(id=body.run_id, lifecycle="active"))
    return answer({})


@ROUTES.add("POST", "/runs/search", READ, **HIDDEN)
async def search_runs(body: SearchOf, caller: CallerOf) -> Response:
    page = await ask(caller, SearchRuns(experiments=body.experiment_ids, search=body.search()))
    return answer(paged({"runs": [documents.run(found) for found in page.runs]}, page.after))


@ROUTES.add("POST", "/runs/log-metric", WRITE, **HIDDEN)
async def log_metric(body: MetricOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, metrics=[body.measured()]))


@ROUTES.add("POST", "/runs/log-parameter", WRITE, **HIDDEN)
async def log_parameter(body: PairOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, parameters={body.key: body.value}))


@ROUTES.add("POST", "/runs/set-tag", WRITE, **HIDDEN)
async def set_tag(body: PairOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, tags={body.key: body.value}))


@ROUTES.add("POST", "/runs/delete-tag", WRITE, **HIDDEN)
async def delete_tag(body: PairOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, dropped=[body.key]))


@ROUTES.add("POST", "/runs/log-batch", WRITE, **HIDDEN)
async def log_batch(body: BatchOf, caller: CallerOf) -> Response:
    measured = [metric.measured() for metric in body.metrics]
    order = LogRun(id=body.run_id, metrics=measured, parameters=texts(body.params), tags=texts(body.tags))
    return await _log(caller, order)


@ROUTES.add("POST", "/runs/log-inputs", WRITE, **HIDDEN)
async def log_inputs(body: InputsOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, inputs=[*body.datasets, *body.models]))


@ROUTES.add("POST", "/runs/outputs", WRITE, **HIDDEN)
async def log_outputs(body: InputsOf, caller: CallerOf) -> Response:
    return await _log(caller, LogRun(id=body.run_id, outputs=body.models))


@ROUTES.add("POST", "/runs/log-model", WRITE, **HIDDEN)
async def log_model(body: ModelOf, caller: CallerOf) -> Response:
    """What clients say of a model beside the logged model that they bring."""
    return await _log(caller, LogRun(id=body.run_id, described=body.model_json))


async def _log(caller: Caller, order: LogRun) -> Response:
    await ask(caller, order)
    return answer({})


@ROUTES.add("GET", "/metrics/get-history", READ, **HIDDEN)
async def get_history(
    run_id: str,
    metric_key: str,
    caller: CallerOf,
    max_results: Annotated[int, Query(ge=1)] = 25_000,
    page_token: Token = "",
) -> Response:
    order = GetHistory(id=run_id, name=metric_key, limit=min(max_results, 5000), offset=int(page_token or 0))
    page = await ask(caller, order)
    return answer(paged({"metrics": [documents.metric(point) for point in page.points]}, page.after))


@ROUTES.add("GET", "/artifacts/list", READ, **HIDDEN)
async def list_artifacts(run_id: str, caller: CallerOf, path: str = "") -> Response:
    run = await ask(caller, FindRun(id=run_id))
    info = documents.run_info(run)
    root = f"{run.experiment}/{run.id}/artifacts"
    found = await ask(caller, ListRunFiles(path=f"{root}/{path}" if path else root))
    return answer({"root_uri": info["artifact_uri"], "files": [documents.file(f, path) for f in found.files]})
