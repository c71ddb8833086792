"""Search indexes: texts of a project, found by meaning and by words."""

from typing import Annotated

from fastapi import Query, Request, Response

from services.gateway.caller import CallerOf
from services.gateway.routes.batches import FILE, SUBMIT_SECONDS
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.models import MOST
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.inference import (
    BuildIndex,
    DeleteIndex,
    GetIndex,
    IndexList,
    IndexView,
    ListIndexes,
    SearchAnswer,
    SearchIndex,
    SearchMode,
)
from shared.rpc.trainer import TaskAccepted
from shared.tables import TableFormat

ROUTES = Routes("indexes")
SEARCH_SECONDS = 12.0


@ROUTES.add("POST", "/indexes/{name}", Permission.DATASETS_WRITE, status_code=202, extra=FILE)
async def build_index(
    name: Slug,
    request: Request,
    caller: CallerOf,
    response: Response,
    model: Annotated[ModelName, Query(description="one that makes vectors of texts, such as sentence-embedder")],
    version: Annotated[int | None, Query(ge=1, le=MOST)] = None,
    format: TableFormat | None = None,  # noqa: A002
    idempotency_key: IdempotencyKey = "",
) -> TaskAccepted:
    """Build a search index, or build it anew, from a file of documents with columns `id` and `text`, and
    `attributes` (a flat object of JSON) where documents have some, as a task; this needs the permission 'infer' too.
    Until it has ended the index answers by the documents that it had.
    """
    model = caller.may_infer(model)
    digest = await caller.edges.uploads.keep(request)
    order = BuildIndex(name=name, model=model, version=version, digest=digest, format=format)
    accepted = await caller.ask(order, idempotency_key=idempotency_key, seconds=SUBMIT_SECONDS)
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted


@ROUTES.add("GET", "/indexes", Permission.DATASETS_READ)
async def list_indexes(caller: CallerOf) -> IndexList:
    """The search indexes of the project by name."""
    return await caller.ask(ListIndexes())


@ROUTES.add("GET", "/indexes/{name}", Permission.DATASETS_READ)
async def get_index(name: Slug, caller: CallerOf) -> IndexView:
    return await caller.ask(GetIndex(name=name))


@ROUTES.add("DELETE", "/indexes/{name}", Permission.DATASETS_WRITE, status_code=204, response_class=Response)
async def delete_index(name: Slug, caller: CallerOf) -> None:
    """Delete an index with its documents; its model stays."""
    await caller.ask(DeleteIndex(name=name))


@ROUTES.add("GET", "/indexes/{name}/search", Permission.DATASETS_READ)
async def search_index(
    name: Slug,
    caller: CallerOf,
    q: Annotated[str, Query(min_length=1, max_length=4096)],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    mode: SearchMode = "hybrid",
) -> SearchAnswer:
    """Find documents: by meaning (`vector`), by words (`text`), or by both, whose orders are fused by their places."""
    if mode != "text":
        caller.at((await caller.ask(GetIndex(name=name))).model, "infer")
    asked = SearchIndex(
        project=caller.project, actor=caller.principal.key_id, name=name, query=q, limit=limit, mode=mode
    )
    return await caller.ask(asked, seconds=SEARCH_SECONDS)
