"""What tasks say of themselves by step: curves and records, whichever service owns the task."""

from typing import Annotated, Literal

from fastapi import Query, Response
from starlette.responses import JSONResponse

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import TaskId
from shared.errors import InvalidInput
from shared.permissions import Permission
from shared.rpc.curves import (
    NAMES_MOST,
    POINTS_LEAST,
    POINTS_MOST,
    Axis,
    CurvesView,
    GetTaskCurves,
    GetTaskRecord,
    ListTaskRecords,
    RecordList,
)
from shared.rpc.tasks import owner_of

ROUTES = Routes("tasks")
NAME = r"^[^\x00-\x1f]{1,250}$"
Names = Annotated[list[str], Query(max_length=NAMES_MOST, description="one or more, separated by commas or repeated")]
PointsMost = Annotated[int, Query(ge=POINTS_LEAST, le=POINTS_MOST, description="the most points of one curve")]
Bound = Annotated[float | None, Query(allow_inf_nan=False)]


def separated(names: list[str]) -> list[str]:
    """Names that came in one value, and in several; raises InvalidInput for too many."""
    found = [name for value in names for name in value.split(",") if name]
    if len(found) > NAMES_MOST:
        raise InvalidInput(f"names: at most {NAMES_MOST} series are shown at once", field="names")
    return found


@ROUTES.add("GET", "/tasks/{task_id}/curves", Permission.TASKS_READ)
async def show_curves(
    task_id: TaskId,
    caller: CallerOf,
    names: Names = [],  # noqa: B006
    points: PointsMost = 500,
    x: Axis = "step",
    from_: Annotated[Bound, Query(alias="from")] = None,
    to: Bound = None,
) -> CurvesView:
    """Series of a task, scalars by step and by epoch alike, thinned so that ends and extremes stay.

    `x` is what runs along the axis, and `from` and `to` are of it: steps, epochs, or seconds since 1970.
    """
    order = GetTaskCurves(task_id=task_id, names=separated(names), points=points, axis=x, least=from_, greatest=to)
    return await caller.ask(order, service=owner_of(task_id))


@ROUTES.add("GET", "/tasks/{task_id}/records", Permission.TASKS_READ)
async def list_records(
    task_id: TaskId,
    caller: CallerOf,
    name: Annotated[str | None, Query(pattern=NAME)] = None,
    kind: Literal["histogram", "text", "table", "image"] | None = None,
) -> RecordList:
    """The histograms, texts, tables and images of a task, without their contents."""
    return await caller.ask(ListTaskRecords(task_id=task_id, name=name, kind=kind), service=owner_of(task_id))


@ROUTES.add("GET", "/tasks/{task_id}/records/content", Permission.TASKS_READ, response_model=None)
async def show_record(
    task_id: TaskId,
    name: Annotated[str, Query(pattern=NAME)],
    caller: CallerOf,
    step: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Response:
    """The content of one record, the last of its name without `step`: JSON, or the image itself."""
    found = await caller.ask(GetTaskRecord(task_id=task_id, name=name, step=step), service=owner_of(task_id))
    if found.digest is None:
        return JSONResponse(found.body)
    return caller.edges.uploads.stream(found.digest, found.size, found.media)
