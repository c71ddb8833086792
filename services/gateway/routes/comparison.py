"""Tasks of any service side by side, and the series of one as a file."""

import asyncio
import re
from typing import Annotated, Literal

from fastapi import Query
from starlette.responses import StreamingResponse

from services.gateway.caller import Caller, CallerOf
from services.gateway.comparing import Comparison, compared
from services.gateway.routes.curves import Names, PointsMost, separated
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import TASK_ID, TaskId, one_task
from shared.errors import InvalidInput
from shared.permissions import Permission
from shared.rpc.curves import Axis, CurvesView, ExportTask, GetTaskCurves
from shared.rpc.tasks import TaskView, owner_of

ROUTES = Routes("tasks")
TASKS_MOST = 10
EXPORT_SECONDS = 20.0


@ROUTES.add("GET", "/tasks/compare", Permission.TASKS_READ)
async def compare_tasks(
    caller: CallerOf,
    ids: Annotated[list[str], Query(min_length=1, description="two or more, separated by commas or repeated")],
    names: Names = [],  # noqa: B006
    points: PointsMost = 200,
    x: Axis = "step",
) -> Comparison:
    """Tasks side by side: parameters that differ, last figures, and curves over each other."""
    wanted = list(dict.fromkeys(task_id for value in ids for task_id in value.split(",") if task_id))
    if not 2 <= len(wanted) <= TASKS_MOST or not all(re.fullmatch(TASK_ID, task_id) for task_id in wanted):
        raise InvalidInput(f"ids: from 2 to {TASKS_MOST} ids of tasks, such as train-<uuid>", field="ids")
    orders = [GetTaskCurves(task_id=each, names=separated(names), points=points, axis=x) for each in wanted]
    return compared(await asyncio.gather(*(_told(order, caller) for order in orders)))


async def _told(order: GetTaskCurves, caller: Caller) -> tuple[TaskView, CurvesView]:
    task = await one_task(order.task_id, caller)
    return task, await caller.ask(order, service=owner_of(order.task_id))


@ROUTES.add("GET", "/tasks/{task_id}/export", Permission.TASKS_READ, response_class=StreamingResponse)
async def export_task(
    task_id: TaskId,
    caller: CallerOf,
    format: Literal["parquet", "tensorboard"] = "parquet",  # noqa: A002
) -> StreamingResponse:
    """All points of all series of a task as one file: Parquet, or an event file of TensorBoard."""
    order = ExportTask(task_id=task_id, format=format)
    made = await caller.ask(order, service=owner_of(task_id), seconds=EXPORT_SECONDS)
    return caller.edges.uploads.stream(made.digest, made.size, made.media, made.file_name)
