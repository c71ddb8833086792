"""What is done to trials in the transaction of their study."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from services.trainer.domain import Mark
from services.trainer.tuning import store
from services.trainer.tuning.domain import Trial, TrialState, values_of
from shared.events.common import TaskState
from shared.events.training import TrainingCancelled
from shared.tasks import store as tasks
from shared.tasks.run import tell
from shared.tasks.state import is_final, short
from shared.tasks.store import Task
from shared.tuning import Objective
from shared.work import Work

PRUNED = "pruned"


def read_trial(task: Task, objectives: Sequence[Objective], curve: Mapping[int, float] = MappingProxyType({})) -> Trial:
    """A trial from its task; one that was told to end early counts as pruned once it has."""
    mark = Mark.model_validate(task.spec["trial"])
    state = TrialState(short(task.state))
    if state is TrialState.CANCELLED and mark.pruned is not None:
        state = TrialState.PRUNED
    values = values_of(objectives, task.result.get("metrics", {})) if state is TrialState.SUCCEEDED else ()
    return Trial(
        number=mark.number,
        task_id=task.id,
        parameters=mark.parameters,
        state=state,
        values=values,
        curve=dict(curve),
        generation=mark.generation,
        error=task.error_message,
    )


async def stop(work: Work[Any], study: str) -> None:
    """End all that go on; those that run end within seconds."""
    for task in await store.going_on(work.tx, study):
        await _cancel(work, task)


async def prune(work: Work[Any], task_id: str, epoch: int) -> None:
    """End one that fell behind, unless it has ended by itself."""
    task = await store.child(work.tx, task_id)
    if not is_final(task.state):
        await _cancel(work, await store.mark(work.tx, task, {"pruned": epoch}, tag=PRUNED))


async def hold_up(work: Work[Any], study: str) -> None:
    """Let those rest that would run, and remember that it was their study that rests."""
    for task in await store.going_on(work.tx, study):
        if task.state is TaskState.PAUSED:
            continue
        marked = await store.mark(work.tx, task, {"paused": True})
        changed = await tasks.request_pause(work.tx, marked)
        if changed.state is not task.state:
            tell(work, changed)


async def go_on(work: Work[Any], task_id: str) -> None:
    task = await store.child(work.tx, task_id)
    if task.state is TaskState.PAUSED:
        tell(work, await tasks.resume(work.tx, await store.mark(work.tx, task, {"paused": False})))


async def _cancel(work: Work[Any], task: Task) -> None:
    changed = await tasks.request_cancel(work.tx, task)
    if changed.state is not task.state:
        tell(work, changed)
        work.say(TrainingCancelled(task_id=changed.id, model=changed.model))
