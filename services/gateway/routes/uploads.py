"""Models that people bring and take as files; the files are kept by digest, registry looks into them."""

import re
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.types import Scope

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.models import Version
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.registry import (
    CollectGarbage,
    ExportVersion,
    Garbage,
    Label,
    RegisterImport,
    RegisterUpload,
    Text,
    VersionView,
)

ROUTES = Routes("uploads")
STREAMED = re.compile(rf"{PREFIX}/(models/[^/]+/(versions|imports|batches)|datasets/[^/]+|indexes/[^/]+)")
CHECK_SECONDS = 20.0
BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Collection(BaseModel):
    """Whether to count or to collect what nobody names, and how old it must be."""

    model_config = ConfigDict(extra="forbid")
    dry_run: StrictBool = True
    grace_hours: float = Field(default=24, ge=1, le=24 * 365)


def is_streamed(scope: Scope) -> bool:
    """Whether the body of this request is a file, which its route reads itself."""
    return scope["method"] == "POST" and STREAMED.fullmatch(scope["path"]) is not None


@ROUTES.add("POST", "/models/{model}/versions", Permission.MODELS_WRITE, status_code=201, extra=BINARY)
async def upload_version(
    model: Slug,
    request: Request,
    caller: CallerOf,
    response: Response,
    dataset: Slug | None = None,
    task_type: Slug | None = None,
    label: Annotated[list[Label], Query(max_length=1000)] = [],  # noqa: B006
    summary: Text = "",
    auto_promote: bool = False,
    idempotency_key: IdempotencyKey = "",
) -> VersionView:
    """Bring an ONNX file, as the body, as the next version of a model; it is checked, staged, and evaluated where it
    has the tensors of versions on a data set.

    The same Idempotency-Key with the same file, by its digest, and the same query gives the same version; else 409.
    """
    order = RegisterUpload(
        model=model,
        digest=await caller.edges.uploads.keep(request),
        dataset=dataset,
        task_type=task_type,
        labels=label,
        card={"summary": summary} if summary else {},
        auto_promote=auto_promote,
    )
    made = await caller.ask(order, idempotency_key=idempotency_key, seconds=CHECK_SECONDS)
    response.headers["Location"] = f"{PREFIX}/models/{model}/versions/{made.version}"
    return made


@ROUTES.add("POST", "/models/{model}/imports", Permission.MODELS_WRITE, status_code=201, extra=BINARY)
async def import_version(
    model: Slug,
    request: Request,
    caller: CallerOf,
    response: Response,
    auto_promote: bool = False,
    idempotency_key: IdempotencyKey = "",
) -> VersionView:
    """Bring a version that was exported as one file, as the body, as the next version of a model.

    The same Idempotency-Key with the same file, by its digest, and the same query gives the same version; else 409.
    """
    digest = await caller.edges.uploads.keep(request)
    order = RegisterImport(model=model, digest=digest, auto_promote=auto_promote)
    made = await caller.ask(order, idempotency_key=idempotency_key, seconds=CHECK_SECONDS)
    response.headers["Location"] = f"{PREFIX}/models/{model}/versions/{made.version}"
    return made


@ROUTES.add("GET", "/models/{model}/versions/{version}/export", Permission.MODELS_READ, response_class=Response)
async def export_version(model: Slug, version: Version, caller: CallerOf) -> Response:
    """Take a version as one file: model.onnx and manifest.json in a zip."""
    exported = await caller.ask(ExportVersion(model=model, version=version), seconds=CHECK_SECONDS)
    return caller.edges.uploads.response(exported, "application/zip")


@ROUTES.add("POST", "/artifacts/collection", Permission.ARTIFACTS_COLLECT, platform=True)
async def collect_garbage(body: Collection, caller: CallerOf) -> Garbage:
    """Collect artifacts that nobody names and data sets that nobody uses; a dry run, unless asked otherwise."""
    order = CollectGarbage(dry_run=body.dry_run, grace_seconds=body.grace_hours * 3600)
    return await caller.ask(order, seconds=CHECK_SECONDS)
