"""Data sets that trainings have brought: what they hold, and how it looks."""

from typing import Annotated

from fastapi import Query

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from shared.names import Digest, Slug
from shared.permissions import Permission
from shared.rpc.registry import DatasetList, DatasetView, GetDataset, ListDatasets

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
