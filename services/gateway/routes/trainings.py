"""What a training shows beside its state, and the same training once more: asked of trainer."""

from typing import Annotated

from fastapi import Path, Query, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.permissions import Permission
from shared.rpc.trainer import GetInsights, GetProfile, ReproduceTask, TaskAccepted, TaskInsights

ROUTES = Routes("tasks")
TrainingId = Annotated[str, Path(pattern=r"^train-[0-9a-f-]{36}$", description="such as train-<uuid>")]


@ROUTES.add("GET", "/tasks/{task_id}/insights", Permission.TASKS_READ)
async def show_insights(
    task_id: TrainingId, caller: CallerOf, epoch: Annotated[int | None, Query(ge=0, le=10_000)] = None
) -> TaskInsights:
    """What a classifier in training confuses with what, and its worst answers on the validation part, by their places
    in it: of the last epoch that was looked at, or of another one of `epochs`.
    """
    return await caller.ask(GetInsights(task_id=task_id, epoch=epoch))


@ROUTES.add("GET", "/tasks/{task_id}/profile", Permission.TASKS_READ, response_class=Response)
async def download_profile(task_id: TrainingId, caller: CallerOf) -> Response:
    """The trace of the steps that `training.profile_steps` asked for, as Chrome and Perfetto show it (JSON, gzip)."""
    file = await caller.ask(GetProfile(task_id=task_id))
    return caller.edges.uploads.response(file, file.media_type)


@ROUTES.add("POST", "/tasks/{task_id}/reproduce", Permission.TASKS_WRITE, status_code=202)
async def reproduce_task(
    task_id: TrainingId, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> TaskAccepted:
    """Run a training that succeeded once more, with the same plan on the same data; it makes no version.

    `result.reproduction` then says whether the file is the same, and which metrics and circumstances are not.
    """
    accepted = await caller.ask(ReproduceTask(task_id=task_id), idempotency_key=idempotency_key)
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted
