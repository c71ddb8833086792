"""Files of runs over MLflow's artifact proxy: opaque bytes, kept by digest, which nobody here opens."""

import re

from fastapi import Request, Response
from starlette.types import Scope

from services.gateway.caller import CallerOf
from services.gateway.mlflow import documents
from services.gateway.mlflow.documents import answer
from services.gateway.mlflow.tracking import HIDDEN, READ, WRITE, ask
from services.gateway.routes.declare import Routes
from shared.rpc.runs import DropRunFiles, FilePath, FindRunFile, KeepRunFile, ListRunFiles

PREFIX = "/mlflow/api/2.0/mlflow-artifacts"
ROUTES = Routes("mlflow", PREFIX)
STREAMED = re.compile(rf"{PREFIX}/artifacts/.+")


def is_streamed(scope: Scope) -> bool:
    """Whether the body of this request is a file, which its route reads itself."""
    return scope["method"] == "PUT" and STREAMED.fullmatch(scope["path"]) is not None


@ROUTES.add("GET", "/artifacts", READ, **HIDDEN)
async def list_files(path: FilePath, caller: CallerOf) -> Response:
    found = await ask(caller, ListRunFiles(path=path))
    return answer({"files": [documents.file(each, "") for each in found.files]})


@ROUTES.add("GET", "/artifacts/{path:path}", READ, **HIDDEN)
async def get_file(path: FilePath, caller: CallerOf) -> Response:
    found = await ask(caller, FindRunFile(path=path))
    return caller.edges.uploads.stream(found.digest, found.size or 0, "application/octet-stream")


@ROUTES.add("PUT", "/artifacts/{path:path}", WRITE, **HIDDEN)
async def keep_file(path: FilePath, request: Request, caller: CallerOf) -> Response:
    digest, size = await caller.edges.uploads.keep_any(request)
    await ask(caller, KeepRunFile(path=path, digest=digest, size=size))
    return answer({})


@ROUTES.add("DELETE", "/artifacts/{path:path}", WRITE, **HIDDEN)
async def drop_files(path: FilePath, caller: CallerOf) -> Response:
    await ask(caller, DropRunFiles(path=path))
    return answer({})
