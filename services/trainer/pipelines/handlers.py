"""What people ask of pipelines, and what pipelines hear of versions."""

from typing import Any

from services.trainer.parts import Work
from services.trainer.pipelines import store
from services.trainer.pipelines.beginning import check_task
from services.trainer.pipelines.domain import (
    KIND,
    Fact,
    PipelineState,
    StepState,
    changed,
    check,
    left,
    needs_approval,
    within,
)
from services.trainer.pipelines.store import Pipeline, Step
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.base import Event
from shared.events.deployment import DeploymentFailed, TrafficSwitched
from shared.events.evaluation import EvaluationCompleted, EvaluationFailed, EvaluationRequested
from shared.events.models import VersionRegistered
from shared.events.pipelines import PipelineStepApproved, PipelineStopped, PipelineSubmitted
from shared.handlers import RpcHandler
from shared.names import listed, new_id, snake
from shared.pipelines import Definition
from shared.rpc.base import Request
from shared.rpc.pipelines import (
    ApproveStep,
    CancelPipeline,
    ClonePipeline,
    GetPipeline,
    ListPipelines,
    PipelineList,
    PipelineView,
    SubmitPipeline,
)
from shared.tasks.quota import check_quota

ABOUT: dict[type[Event], str] = {
    VersionRegistered: "task_id",
    EvaluationRequested: "evaluation_id",
    EvaluationCompleted: "evaluation_id",
    EvaluationFailed: "evaluation_id",
    DeploymentFailed: "",
    TrafficSwitched: "",
}
TOLD = tuple(ABOUT)
NEEDED = {"verdict", "reasons", "error_class", "error_message", "reason"}


async def keep_fact(event: Event, work: Work) -> None:
    """Keep what pipelines need of an event about a version; others change nothing."""
    if not isinstance(event, TOLD):
        return
    data = event.model_dump(mode="json")
    about = data.get(ABOUT[type(event)], "")
    fact = Fact(snake(type(event).__name__), about, {name: data[name] for name in NEEDED & data.keys()})
    await store.keep_fact(work.tx, work.project, data["model"], data["version"], fact)


async def submit_pipeline(request: SubmitPipeline, work: Work) -> PipelineView:
    await check_quota(work, "pipeline")
    return await _accept(work, request.definition)


async def clone_pipeline(request: ClonePipeline, work: Work) -> PipelineView:
    earlier = await store.find(work.tx, work.project, request.pipeline_id)
    steps = [step.spec.model_dump(mode="json") for step in await store.steps(work.tx, earlier.id)]
    given = {"name": earlier.name, "on_failure": earlier.on_failure, "steps": steps}
    definition = changed(given, request.name, request.on_failure, request.steps)
    return await _accept(work, definition, cloned_from=earlier.id)


async def _accept(work: Work, definition: Definition, cloned_from: str = "") -> PipelineView:
    """Raises InvalidInput that names the field of the step which cannot be."""
    check(definition)
    for index, step in enumerate(definition.steps):
        try:
            await check_task(work, step)
        except (InvalidInput, NotFound) as error:
            raise within(index, error) from error
    pipeline = await store.insert(work.tx, f"{KIND}-{new_id()}", definition, work.context, cloned_from)
    said = PipelineSubmitted(
        pipeline_id=pipeline.id,
        name=pipeline.name,
        steps=tuple(step.name for step in definition.steps),
        on_failure=pipeline.on_failure,
        cloned_from=cloned_from,
        actor=work.context.actor,
    )
    work.say(said)
    return await _view(work, pipeline)


async def get_pipeline(request: GetPipeline, work: Work) -> PipelineView:
    return await _view(work, await store.find(work.tx, work.project, request.pipeline_id))


async def list_pipelines(request: ListPipelines, work: Work) -> PipelineList:
    found = await store.pipelines(work.tx, work.project, request.state, request.before, request.limit + 1)
    shown = [pipeline.view(steps) for pipeline, steps in found[: request.limit]]
    return PipelineList(pipelines=shown, next=shown[-1].id if len(found) > request.limit else "")


async def cancel_pipeline(request: CancelPipeline, work: Work) -> PipelineView:
    """What runs is ended at the next look, within seconds; once more changes nothing."""
    pipeline = await store.find(work.tx, work.project, request.pipeline_id, lock=True)
    if pipeline.ended_at is not None and pipeline.state is not PipelineState.CANCELLED:
        raise Conflict(f"the pipeline has ended: it is {pipeline.state}")
    if pipeline.ended_at is None and pipeline.ending is None:
        await store.set_ending(work.tx, pipeline.id, PipelineState.CANCELLED)
        stopped = PipelineStopped(pipeline_id=pipeline.id, state=PipelineState.CANCELLED, actor=work.context.actor)
        work.say(stopped)
    return await get_pipeline(GetPipeline(pipeline_id=pipeline.id), work)


async def approve_step(request: ApproveStep, work: Work) -> PipelineView:
    """Once more changes nothing; raises Conflict where nothing waits for an approval now."""
    pipeline = await store.find(work.tx, work.project, request.pipeline_id, lock=True)
    steps = await store.steps(work.tx, pipeline.id)
    step = _named(steps, request.step)
    if not needs_approval(step.spec):
        raise Conflict(f"step '{step.name}' needs no approval", field="step")
    if not step.approved_by:
        _check_approvable(step, steps)
        await store.approve(work.tx, pipeline.id, step.name, work.context.actor)
        work.say(PipelineStepApproved(pipeline_id=pipeline.id, step=step.name, actor=work.context.actor))
    return await _view(work, pipeline)


def _check_approvable(step: Step, steps: list[Step]) -> None:
    if step.state is not StepState.WAITING:
        raise Conflict(f"step '{step.name}' is {step.state}", field="step")
    if names := left(step.standing, {other.name: other.state for other in steps}):
        raise Conflict(f"step '{step.name}' waits for {listed(names)}: look at what comes of that first", field="step")


def _named(steps: list[Step], name: str) -> Step:
    found = next((step for step in steps if step.name == name), None)
    if found is None:
        known = listed(step.name for step in steps)
        raise NotFound(f"there is no step '{name}'; there are {known}", field="step")
    return found


async def _view(work: Work, pipeline: Pipeline) -> PipelineView:
    return pipeline.view(await store.steps(work.tx, pipeline.id))


PIPELINE_RPC: dict[type[Request[Any]], RpcHandler] = {
    SubmitPipeline: submit_pipeline,
    ClonePipeline: clone_pipeline,
    GetPipeline: get_pipeline,
    ListPipelines: list_pipelines,
    CancelPipeline: cancel_pipeline,
    ApproveStep: approve_step,
}
