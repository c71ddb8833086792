"""Routes in the style of OpenAI's API, for clients that know it; errors have its shape too."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.caller import Caller, CallerOf
from services.gateway.openai.embeddings import Encoding, check_embeds, embedding_list, texts, vectors
from services.gateway.predict.facts import Facts
from services.gateway.predict.predictor import Predicted, Translation
from services.gateway.predict.values import Item, tensors
from services.gateway.routes.declare import NAMES_MODEL, Routes
from shared.errors import NotFound
from shared.names import is_model_name
from shared.permissions import Permission
from shared.rpc.inference import ListDeployments
from shared.rpc.registry import ListModels
from shared.signatures import MAX_BATCH
from shared.tensors import Tensor

ROUTES = Routes("openai", prefix="/v1")
SERVING = "serving"
TEXTS: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class ServedModel(BaseModel):
    """A model that serves."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ServedModelList(BaseModel):
    """The models of the project that serve, by name."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class EmbeddingsOrder(BaseModel):
    """Texts to make vectors of; what else clients send is let be."""

    model_config = ConfigDict(extra="ignore")
    model: str
    input: Any = Field(json_schema_extra=TEXTS)
    encoding_format: Encoding = "float"
    dimensions: int | None = Field(default=None, ge=1)


@ROUTES.add("GET", "/models", Permission.MODELS_READ)
async def list_served_models(caller: CallerOf) -> ServedModelList:
    """The models of the project that serve."""
    return ServedModelList(data=await _served(caller))


@ROUTES.add("GET", "/models/{model}", Permission.MODELS_READ)
async def show_served_model(model: str, caller: CallerOf) -> ServedModel:
    """One of them."""
    found = next((each for each in await _served(caller) if each.id == model), None)
    if found is None:
        raise NotFound(f"no model '{model[:64]}' serves here", field="model")
    return found


async def _served(caller: Caller) -> list[ServedModel]:
    deployed = (await caller.ask(ListDeployments())).deployments
    serving = {each.model for each in deployed if each.state == SERVING}
    known = (await caller.ask(ListModels())).models
    return [
        ServedModel(id=each.name, created=_seconds(each.created_at), owned_by=caller.project)
        for each in known
        if each.name in serving
    ]


def _seconds(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0


@ROUTES.add("POST", "/embeddings", Permission.INFER, NAMES_MODEL, response_model=None)
async def create_embeddings(
    order: EmbeddingsOrder, request: Request, response: Response, caller: CallerOf
) -> dict[str, Any]:
    """A vector for each text, by a model that takes text alone and gives one vector; all by the same version."""
    items = texts(order.input)
    if not is_model_name(order.model):
        raise NotFound(f"there is no model '{order.model[:64]}'", field="model")
    found: list[NDArray[np.float32]] = []
    version: int | None = None
    for start in range(0, len(items), MAX_BATCH):
        predicted = await _embed(caller, request, order, items[start : start + MAX_BATCH], version)
        version = predicted.version
        found.append(vectors(predicted.outputs))
        response.headers["x-request-id"] = predicted.prediction_id
    return embedding_list(order.model, found, order.encoding_format)


async def _embed(
    caller: Caller, request: Request, order: EmbeddingsOrder, items: Sequence[Item], version: int | None
) -> Predicted:
    def translate(facts: Facts) -> tuple[Tensor, ...]:
        check_embeds(facts, order.dimensions)
        return tensors(items, facts)

    predictor = caller.edges.predictor
    predicted, facts = await predictor.predict(caller, request.headers, order.model, version, Translation(translate))
    check_embeds(facts, order.dimensions)
    return predicted
