"""Pipelines: several steps submitted, seen, cancelled and cloned as one thing; asked of trainer."""

from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.access import authorise
from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.pipelines import MOST_STEPS, BatchStep, Definition, OnFailure
from shared.rpc.pipelines import (
    SERVICE,
    ApproveStep,
    CancelPipeline,
    ClonePipeline,
    GetPipeline,
    ListPipelines,
    PipelineList,
    PipelineView,
    SubmitPipeline,
)

ROUTES = Routes("pipelines")
PATTERN = r"^pipeline-[0-9a-f-]{36}$"
PipelineId = Annotated[str, Path(pattern=PATTERN, description="such as pipeline-<uuid>")]
State = Literal["running", "stopping", "succeeded", "failed", "cancelled"]


class PipelineClone(BaseModel):
    """What shall be different from the pipeline that is cloned: fields of steps by name; `config` is added to."""

    model_config = ConfigDict(extra="forbid")
    name: Slug | None = None
    on_failure: OnFailure | None = None
    steps: dict[Slug, dict[str, Any]] = Field(default={}, max_length=MOST_STEPS)


@ROUTES.add("POST", "/pipelines", Permission.TASKS_WRITE, status_code=202)
async def submit_pipeline(
    body: Definition, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> PipelineView:
    """Accept a pipeline of named steps: `train`, `tune`, `optimise`, `batch` (needs the permission 'infer' too),
    `evaluate`, `promote` and `deploy`. A step begins once those in `after` and the one that it is `of` have succeeded.
    """
    if any(isinstance(step, BatchStep) for step in body.steps):
        authorise(caller.principal, Permission.INFER)
    order = SubmitPipeline(definition=body)
    return _located(await caller.ask(order, service=SERVICE, idempotency_key=idempotency_key), response)


@ROUTES.add("GET", "/pipelines", Permission.TASKS_READ)
async def list_pipelines(
    caller: CallerOf,
    state: State | None = None,
    before: Annotated[str | None, Query(pattern=PATTERN, description="`next` of the answer before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PipelineList:
    """Pipelines of the project, newest first."""
    return await caller.ask(ListPipelines(state=state, before=before, limit=limit), service=SERVICE)


@ROUTES.add("GET", "/pipelines/{pipeline_id}", Permission.TASKS_READ)
async def show_pipeline(pipeline_id: PipelineId, caller: CallerOf) -> PipelineView:
    """One pipeline: the state of each step, its task or version, and why it waits."""
    return await caller.ask(GetPipeline(pipeline_id=pipeline_id), service=SERVICE)


@ROUTES.add("POST", "/pipelines/{pipeline_id}/cancel", Permission.TASKS_WRITE)
async def cancel_pipeline(pipeline_id: PipelineId, caller: CallerOf) -> PipelineView:
    """Stop a pipeline: what runs ends within seconds, and nothing else begins."""
    return await caller.ask(CancelPipeline(pipeline_id=pipeline_id), service=SERVICE)


@ROUTES.add("POST", "/pipelines/{pipeline_id}/clone", Permission.TASKS_WRITE, status_code=202)
async def clone_pipeline(
    pipeline_id: PipelineId,
    body: PipelineClone,
    caller: CallerOf,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> PipelineView:
    """Accept a pipeline like an earlier one, with these changes; one with batches needs the permission 'infer' too."""
    earlier = await caller.ask(GetPipeline(pipeline_id=pipeline_id), service=SERVICE)
    if any(step.kind == "batch" for step in earlier.steps):
        authorise(caller.principal, Permission.INFER)
    order = ClonePipeline(pipeline_id=pipeline_id, **body.model_dump())
    return _located(await caller.ask(order, service=SERVICE, idempotency_key=idempotency_key), response)


@ROUTES.add("POST", "/pipelines/{pipeline_id}/steps/{step}/approve", Permission.MODELS_PROMOTE)
async def approve_step(pipeline_id: PipelineId, step: Slug, caller: CallerOf) -> PipelineView:
    """Let a promotion with the policy `approval` go on; it still needs an evaluation that passed."""
    return await caller.ask(ApproveStep(pipeline_id=pipeline_id, step=step), service=SERVICE)


def _located(accepted: PipelineView, response: Response) -> PipelineView:
    response.headers["Location"] = f"{PREFIX}/pipelines/{accepted.id}"
    return accepted
