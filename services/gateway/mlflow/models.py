"""Logged models over MLflow's REST protocol, as its clients bring them since version 3."""

from typing import Annotated, Any

from fastapi import Response
from pydantic import Field, field_validator

from services.gateway.caller import CallerOf
from services.gateway.mlflow import documents
from services.gateway.mlflow.documents import Given, Pair, answer, paged, texts
from services.gateway.mlflow.tracking import HIDDEN, PREFIX, READ, WRITE, SearchOf, ask
from services.gateway.routes.declare import Routes
from shared.rpc.runs import (
    ChangeLoggedModel,
    CreateLoggedModel,
    FindLoggedModel,
    ListRunFiles,
    ModelStatus,
    Name,
    OrderText,
    SearchLoggedModels,
)

ROUTES = Routes("mlflow", f"{PREFIX}/logged-models")


class NewModel(Given):
    experiment_id: str = "0"
    name: Name = ""
    model_type: Name = ""
    source_run_id: str = ""
    params: list[Pair] = []
    tags: list[Pair] = []


class Finished(Given):
    status: ModelStatus


class TagsOf(Given):
    tags: list[Pair] = []


class ParamsOf(Given):
    params: list[Pair] = []


class OrderOf(Given):
    field_name: OrderText
    ascending: bool = True


class ModelsOf(SearchOf):
    """Here an order is no text."""

    order_by: Annotated[list[Any], Field(max_length=20)] = []

    @field_validator("order_by")
    @classmethod
    def _as_texts(cls, given: list[Any]) -> list[str]:
        orders = [OrderOf.model_validate(each) for each in given]
        return [f"{order.field_name} {'ASC' if order.ascending else 'DESC'}" for order in orders]


@ROUTES.add("POST", "", WRITE, **HIDDEN)
async def create_model(body: NewModel, caller: CallerOf) -> Response:
    order = CreateLoggedModel(
        experiment=body.experiment_id,
        name=body.name,
        model_type=body.model_type,
        run=body.source_run_id,
        params=texts(body.params),
        tags=texts(body.tags),
    )
    return answer(documents.logged_model(await ask(caller, order)))


@ROUTES.add("POST", "/search", READ, **HIDDEN)
async def search_models(body: ModelsOf, caller: CallerOf) -> Response:
    page = await ask(caller, SearchLoggedModels(experiments=body.experiment_ids, search=body.search()))
    models = [documents.logged_model(found)["model"] for found in page.models]
    return answer(paged({"models": models}, page.after))


@ROUTES.add("GET", "/{model_id}", READ, **HIDDEN)
async def get_model(model_id: str, caller: CallerOf) -> Response:
    return answer(documents.logged_model(await ask(caller, FindLoggedModel(id=model_id))))


@ROUTES.add("PATCH", "/{model_id}", WRITE, **HIDDEN)
async def finalize_model(model_id: str, body: Finished, caller: CallerOf) -> Response:
    changed = await ask(caller, ChangeLoggedModel(id=model_id, status=body.status))
    return answer(documents.logged_model(changed))


@ROUTES.add("DELETE", "/{model_id}", WRITE, **HIDDEN)
async def delete_model(model_id: str, caller: CallerOf) -> Response:
    await ask(caller, ChangeLoggedModel(id=model_id, lifecycle="deleted"))
    return answer({})


@ROUTES.add("PATCH", "/{model_id}/tags", WRITE, **HIDDEN)
async def tag_model(model_id: str, body: TagsOf, caller: CallerOf) -> Response:
    changed = await ask(caller, ChangeLoggedModel(id=model_id, tags=texts(body.tags)))
    return answer(documents.logged_model(changed))


@ROUTES.add("DELETE", "/{model_id}/tags/{key:path}", WRITE, **HIDDEN)
async def untag_model(model_id: str, key: str, caller: CallerOf) -> Response:
    await ask(caller, ChangeLoggedModel(id=model_id, dropped=[key]))
    return answer({})


@ROUTES.add("POST", "/{model_id}/params", WRITE, **HIDDEN)
async def log_params(model_id: str, body: ParamsOf, caller: CallerOf) -> Response:
    await ask(caller, ChangeLoggedModel(id=model_id, params=texts(body.params)))
    return answer({})


@ROUTES.add("GET", "/{model_id}/artifacts/directories", READ, **HIDDEN)
async def list_model_files(model_id: str, caller: CallerOf, artifact_directory_path: str = "") -> Response:
    model = documents.logged_model(await ask(caller, FindLoggedModel(id=model_id)))["model"]["info"]
    root = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
    path = f"{root}/{artifact_directory_path}" if artifact_directory_path else root
    found = await ask(caller, ListRunFiles(path=path))
    files = [documents.file(each, artifact_directory_path) for each in found.files]
    return answer({"root_uri": model["artifact_uri"], "files": files})
