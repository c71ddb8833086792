"""Data sets that people and trainings have brought: what they hold, and how it looks."""

from typing import Annotated

from fastapi import Query, Request, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.tasks import IdempotencyKey
from services.gateway.routes.uploads import BINARY
from shared.names import Digest, Slug
from shared.permissions import Permission
from shared.rpc.registry import DatasetList, DatasetView, GetDataset, ListDatasets
from shared.rpc.trainer import SubmitDataset, TaskAccepted
from shared.tables import TableFormat

ROUTES = Routes("datasets")


@ROUTES.add("GET", "/datasets", Permission.DATASETS_READ)
async def list_datasets(
    caller: CallerOf, name: Slug | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> DatasetList:
    """The data sets of the project, newest first; each digest is a version of its name."""
    return await caller.ask(ListDatasets(name=name, limit=limit))


@ROUTES.add("GET", "/datasets/{name}", Permission.DATASETS_READ)
async def show_dataset(name: Slug, caller: CallerOf, digest: Digest | None = None) -> DatasetView:
    """One data set, the newest or that of a digest: its schema, a profile of its columns, and a few of its items."""
    return await caller.ask(GetDataset(name=name, digest=digest))


@ROUTES.add("POST", "/datasets/{name}", Permission.DATASETS_WRITE, status_code=202, extra=BINARY)
async def bring_dataset(
    name: Slug,
    request: Request,
    caller: CallerOf,
    response: Response,
    like: Slug,
    format: TableFormat | None = None,  # noqa: A002
    idempotency_key: IdempotencyKey = "",
) -> TaskAccepted:
    """Bring a file of rows, as the body, as the next version of a data set that has the columns and labels of one of
    the library's; look at the making of it as at any task, then train a member on it.

    Columns are known by their names in the schema of the data set that it is `like`; labels are words or numbers; a
    column `part` may say train, validation or test of each row. Without `format` the content tells what the file is.
    Pictures come as a zip: folders named by labels, which may lie in folders train, validation and test.
    """
    digest = await caller.edges.uploads.keep(request)
    order = SubmitDataset(name=name, like=like, digest=digest, format=format)
    accepted = await caller.ask(order, idempotency_key=idempotency_key)
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted
