"""Evaluations, predictions and the host: what became of models and how they fare."""

from typing import Annotated

from fastapi import Path, Query

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.evaluator import EvaluationList, EvaluationView, GetEvaluation, ListEvaluations
from shared.rpc.monitor import GetHostMetrics, HostMetrics, ListPredictions, PredictionList

ROUTES = Routes("insight")
EvaluationId = Annotated[str, Path(pattern=r"^[a-z]{1,32}-[0-9a-f-]{36}$")]
Id = Annotated[str, Query(pattern=r"^[0-9a-f-]{36}$")]


@ROUTES.add("GET", "/evaluations", Permission.EVALUATIONS_READ)
async def list_evaluations(
    caller: CallerOf,
    model: Slug | None = None,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> EvaluationList:
    """Evaluations, newest first."""
    return await caller.ask(ListEvaluations(model=model, version=version))


@ROUTES.add("GET", "/evaluations/{evaluation_id}", Permission.EVALUATIONS_READ)
async def show_evaluation(evaluation_id: EvaluationId, caller: CallerOf) -> EvaluationView:
    """One evaluation with its verdict and its report."""
    return await caller.ask(GetEvaluation(evaluation_id=evaluation_id))


@ROUTES.add("GET", "/predictions", Permission.PREDICTIONS_READ)
async def list_predictions(
    caller: CallerOf,
    model: ModelName | None = None,
    prediction_id: Id | None = None,
    evaluation: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PredictionList:
    """Answered predictions, newest first; those of evaluations only with `evaluation`."""
    query = ListPredictions(model=model, prediction_id=prediction_id, evaluation=evaluation, limit=limit)
    return await caller.ask(query)


@ROUTES.add("GET", "/metrics/host", Permission.METRICS_READ, platform=True)
async def show_host(caller: CallerOf) -> HostMetrics:
    """CPU, load, memory, disk, network and GPUs of the host now."""
    return await caller.ask(GetHostMetrics())
