"""What people ask of a training beside its state: a look at its answers, its profile, and to have it once more."""

from typing import Any

from services.trainer import store
from services.trainer.acceptance import accept_plan
from services.trainer.parts import Work
from services.trainer.reproduction import repeated
from services.trainer.saving import PROFILE, PROFILE_FILE
from shared.errors import NotFound
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.trainer import (
    GetInsights,
    GetProfile,
    ReproduceTask,
    TaskAccepted,
    TaskFile,
    TaskInsights,
)
from shared.tasks import store as tasks

GZIP = "application/gzip"


async def get_insights(request: GetInsights, work: Work) -> TaskInsights:
    """Of the epoch that is asked for, or the last that was looked at."""
    task = await tasks.find(work.tx, work.project, request.task_id)
    epochs = await store.insight_epochs(work.tx, task.id)
    epoch = request.epoch if request.epoch is not None else max(epochs, default=None)
    if epoch is None:
        return TaskInsights()
    if epoch not in epochs:
        known = ", ".join(map(str, epochs)) or "none"
        raise NotFound(f"epoch: {task.id} was not looked at after epoch {epoch}; it was after {known}", field="epoch")
    return TaskInsights(epochs=epochs, epoch=epoch, **await store.insights(work.tx, task.id, epoch))


async def get_profile(request: GetProfile, work: Work) -> TaskFile:
    task = await tasks.find(work.tx, work.project, request.task_id)
    file = await tasks.latest_file(work.tx, task, PROFILE)
    kept = await work.parts.runner.artifacts.find(file[1]) if file else None
    if kept is None:
        raise NotFound(f"{task.id} has no profile: ask for one by training.profile_steps; it is kept for 7 days")
    return TaskFile(digest=kept.digest, size=kept.size, file_name=f"{task.id}-{PROFILE_FILE}", media_type=GZIP)


async def reproduce_task(request: ReproduceTask, work: Work) -> TaskAccepted:
    plan = repeated(await tasks.find(work.tx, work.project, request.task_id))
    task = await accept_plan(work, plan)
    work.then(work.parts.runner.wake)
    return TaskAccepted(id=task.id, correlation_id=work.context.correlation_id)


LOOKING_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetInsights: get_insights,
    GetProfile: get_profile,
    ReproduceTask: reproduce_task,
}
