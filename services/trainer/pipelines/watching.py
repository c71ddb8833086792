"""What became of a step that runs, and how one is stopped."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.trainer.parts import Work
from services.trainer.pipelines import store
from services.trainer.pipelines.domain import StepState, Version, known
from services.trainer.pipelines.store import Step
from shared.errors import Conflict, NotFound
from shared.pipelines import EvaluateStep, Lasting
from shared.rpc.registry import PromoteVersion
from shared.rpc.tasks import CancelTask, GetTask, TaskView, owner_of
from shared.tasks import store as tasks
from shared.tasks.handlers import cancel

OURS = "trainer"
CHAMPION_CHANGED = "ChampionChanged"
ENDS = {"failed": StepState.FAILED, "cancelled": StepState.CANCELLED}


async def watch(work: Work, step: Step) -> Step:
    """The step as it stands now."""
    seen = await WATCHES[step.spec.kind](work, step)
    if isinstance(step.spec, Lasting) and seen.state is StepState.RUNNING and _is_late(step, step.spec):
        return failed(seen, "TimedOut", f"{seen.note}; that had {step.spec.seconds:g} s: `seconds` gives it more")
    return seen


async def halt(work: Work, step: Step) -> Step:
    """Ask for the end of what the step does; a task's end is seen later."""
    if step.state is StepState.RUNNING and step.task_id and step.spec.kind != "promote":
        await _cancel(work, step.task_id)
    if step.state is StepState.RUNNING and step.spec.kind in TASK_KINDS:
        return replace(step, note="is being stopped")
    return replace(step, state=StepState.CANCELLED, note="")


def failed(step: Step, error_class: str, message: str) -> Step:
    return replace(step, state=StepState.FAILED, note="", error_class=error_class, error_message=message)


async def _task(work: Work, step: Step) -> Step:
    task = await _view(work, step.task_id)
    if task.state in ENDS:
        ended = replace(step, state=ENDS[task.state], note=task.note)
        return replace(ended, error_class=task.error_class, error_message=task.error_message)
    if task.state == "succeeded":
        return replace(step, state=StepState.SUCCEEDED, note="")
    return replace(step, note=f"{task.state}: {task.note}" if task.note else task.state)


async def _making(work: Work, step: Step) -> Step:
    """A task that makes a version is over when that is registered; a study's is that of its best trial."""
    seen = await _task(work, step)
    if seen.state is not StepState.SUCCEEDED:
        return seen
    task = await tasks.find(work.tx, work.project, step.task_id)
    made = await store.made_by(work.tx, work.project, task.result.get("task_id", task.id))
    if made is None:
        return replace(step, note="waits until its version is registered")
    return replace(seen, model=made[0], version=made[1])


async def _evaluation(work: Work, step: Step) -> Step:
    assert isinstance(step.spec, EvaluateStep)
    version = await _known(work, step)
    seen = replace(step, task_id=version.evaluation_id)
    if version.not_deployed and version.passed is None:
        return failed(seen, "NotDeployed", version.not_deployed)
    error_class, message = version.failure
    if error_class and error_class != CHAMPION_CHANGED:
        return failed(seen, error_class, message)
    if version.passed is None:
        return replace(seen, note="is evaluated as served" if version.evaluation_id else "waits until it is staged")
    if step.spec.must_pass and not version.passed:
        return failed(seen, "GateNotPassed", "; ".join(version.reasons))
    verdict = "passed" if version.passed else f"did not pass: {'; '.join(version.reasons)}"
    return replace(seen, state=StepState.SUCCEEDED, note=verdict)


async def _promotion(work: Work, step: Step) -> Step:
    """Asked for once with each evaluation: one that is stale is made anew, beside the champion of then."""
    version = await _known(work, step)
    if version.passed is None or version.evaluation_id == step.task_id:
        return replace(step, note="the champion changed: it is evaluated again")
    asked = PromoteVersion(model=version.model, version=version.version, evaluation_id=version.evaluation_id)
    context = replace(work.context, actor=step.approved_by or work.context.actor)
    answer = await work.parts.bus.ask(asked, context)
    seen = replace(step, task_id=version.evaluation_id)
    if answer.stale:
        return replace(seen, note="the champion changed: it is evaluated again")
    if answer.refused:
        return failed(seen, "PromotionRefused", answer.refused)
    return replace(seen, state=StepState.SUCCEEDED, note="")


async def _traffic(work: Work, step: Step) -> Step:
    version = await _known(work, step)
    if version.is_serving:
        return replace(step, state=StepState.SUCCEEDED, note="")
    if version.not_deployed:
        return failed(step, "NotDeployed", version.not_deployed)
    return replace(step, note="waits until it answers requests")


WATCHES: dict[str, Callable[[Work, Step], Awaitable[Step]]] = {
    "train": _making,
    "tune": _making,
    "optimise": _making,
    "batch": _task,
    "evaluate": _evaluation,
    "promote": _promotion,
    "deploy": _traffic,
}
TASK_KINDS = frozenset({"train", "tune", "optimise", "batch"})


async def _view(work: Work, task_id: str) -> TaskView:
    if owner_of(task_id) == OURS:
        return (await tasks.find(work.tx, work.project, task_id)).view()
    return await work.parts.bus.ask(GetTask(task_id=task_id), work.context, service=owner_of(task_id))


async def _cancel(work: Work, task_id: str) -> None:
    """What has ended by itself is as good."""
    try:
        async with work.tx.transaction():
            if owner_of(task_id) == OURS:
                await cancel(work, work.parts.runner, task_id)
            else:
                await work.parts.bus.ask(CancelTask(task_id=task_id), work.context, service=owner_of(task_id))
    except (Conflict, NotFound):
        return


async def _known(work: Work, step: Step) -> Version:
    assert step.version is not None
    facts = await store.facts(work.tx, work.project, step.model, step.version)
    return known(step.model, step.version, facts)


def _is_late(step: Step, spec: Lasting) -> bool:
    if spec.seconds is None or step.started_at is None:
        return False
    return datetime.now(UTC) - step.started_at > timedelta(seconds=spec.seconds)
