"""Predictions for people: what they have goes in, labels and scores come out."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from services.gateway.caller import CallerOf
from services.gateway.predict import images, reading, values
from services.gateway.predict.labelled import predictions
from services.gateway.predict.predictor import Translation
from services.gateway.routes.declare import PREFIX, Routes
from services.gateway.routes.models import Version
from shared.names import ModelName
from shared.permissions import Permission

ROUTES = Routes("predict")
AT_ONCE: Final = 32 * 1024
WHERE: Final = f"{PREFIX}/predict/"
TEXTUAL: dict[str, Any] = {"schema": {"type": "string"}}
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
ITEMS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["items"],
        "properties": {"items": {"type": "array", "minItems": 1, "items": {}}},
        "example": {"items": [{"age": 41, "income": None}]},
    }
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {reading.JSON: ITEMS, reading.TEXT: TEXTUAL, reading.CSV: TEXTUAL}
        | dict.fromkeys(images.IMAGES, BINARY),
    }
}
Top = Annotated[int | None, Query(ge=1, le=1000, description="the best so many alone")]


class Prediction(BaseModel):
    """Which version answered, what the log calls the prediction, and an answer for each item.

    Of a classification `label`, `score` and `scores`; of a regression `value`; of a ranking `items`; of labels of
    words `entities`; by name in `outputs` what the model gives beside that.
    """

    model: str
    version: int
    prediction_id: str
    predictions: list[dict[str, Any]]


@ROUTES.add("POST", "/predict/{model}", Permission.INFER, extra=BODY)
async def predict(
    model: ModelName, request: Request, response: Response, caller: CallerOf, top: Top = None
) -> Prediction:
    """Predict with the version that serves, for up to 64 items: `application/json` with objects of named values, or
    plain values for a model of one input (null is a missing number); `text/plain` with one text; `text/csv` with a
    line of names; `image/png` and `image/jpeg` with one image, which is resized."""
    return await _predict(model, None, request, response, caller, top)


@ROUTES.add("POST", "/predict/{model}/versions/{version}", Permission.INFER, extra=BODY)
async def predict_with_version(
    model: ModelName, version: Version, request: Request, response: Response, caller: CallerOf, top: Top = None
) -> Prediction:
    """The same with this version, if it is deployed."""
    return await _predict(model, version, request, response, caller, top)


async def _predict(
    model: str, version: int | None, request: Request, response: Response, caller: CallerOf, top: int | None
) -> Prediction:
    translation = _translation(request.headers.get("content-type", ""), await request.body())
    predictor = caller.edges.predictor
    predicted, facts = await predictor.predict(caller, request.headers, model, version, translation)
    response.headers["x-prediction-id"] = predicted.prediction_id
    return Prediction(
        model=model,
        version=predicted.version,
        prediction_id=predicted.prediction_id,
        predictions=predictions(predicted.outputs, facts, top),
    )


def _translation(content_type: str, body: bytes) -> Translation:
    """How to make tensors of the body; one that cannot be read fails here."""
    kind = reading.media_type(content_type) or reading.JSON
    if kind in images.IMAGES:
        return Translation(partial(images.tensors, body, kind), is_long=True)
    return Translation(partial(values.tensors, reading.items(kind, body)), is_long=len(body) > AT_ONCE)


def body_limit(scope: Scope, content_type: str, others: int) -> int:
    """Images are larger than what else comes."""
    is_image = scope["path"].startswith(WHERE) and reading.media_type(content_type) in images.IMAGES
    return images.BYTES if is_image else others
