"""Batches: the rows of a file or of a data set through a deployed version, as a task with a file as its result."""

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.models import MOST
from services.gateway.routes.tasks import IdempotencyKey
from shared.errors import InvalidInput
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.inference import GetBatchResult, SubmitBatch
from shared.rpc.tasks import owner_of
from shared.rpc.trainer import TaskAccepted
from shared.tables import TableFormat

ROUTES = Routes("batches")
SUBMIT_SECONDS = 10.0
FILE: dict[str, Any] = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
BatchId = Annotated[str, Path(pattern=r"^batch-[0-9a-f-]{36}$", description="such as batch-<uuid>")]


@ROUTES.add("POST", "/models/{model}/batches", Permission.TASKS_WRITE, status_code=202, extra=FILE)
async def submit_batch(
    model: ModelName,
    request: Request,
    caller: CallerOf,
    response: Response,
    version: Annotated[int | None, Query(ge=1, le=MOST)] = None,
    alias: Slug | None = None,
    dataset: Slug | None = None,
    part: Slug = "test",
    format: TableFormat | None = None,  # noqa: A002
    output: TableFormat | None = None,
    idempotency_key: IdempotencyKey = "",
) -> TaskAccepted:
    """Run all rows of a file, sent as the body, or of a part of a data set through a version, the one that serves
    unless another is named; this needs the permission 'infer' too. Look at it, cancel it and read its log as a task.

    A column, or an array of an .npz, goes to the input of its name; an input of several numbers a row also takes
    columns `name.0`, `name.1` ..., and the only input of a model all columns of numbers in order. Without `format` the
    content tells what the file is; without `output` the result has the format of the file.
    """
    model = caller.may_infer(model)
    if version is not None and alias is not None:
        raise InvalidInput("alias: name a version or an alias, not both", field="alias")
    if dataset and _has_body(request):
        raise InvalidInput("dataset: name a data set or send a file, not both", field="dataset")
    order = SubmitBatch(
        model=model,
        version=version,
        alias=alias,
        digest=None if dataset else await caller.edges.uploads.keep(request),
        dataset=dataset,
        part=part,
        format=format,
        output=output,
    )
    accepted = await caller.ask(order, idempotency_key=idempotency_key, seconds=SUBMIT_SECONDS)
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


@ROUTES.add("GET", "/tasks/{task_id}/result", Permission.PREDICTIONS_READ, response_class=Response)
async def download_result(task_id: BatchId, caller: CallerOf) -> Response:
    """The result of a batch that has succeeded, a row for each row of its file, in their order."""
    result = await caller.ask(GetBatchResult(task_id=task_id), service=owner_of(task_id))
    return caller.edges.uploads.response(result, result.media_type)
