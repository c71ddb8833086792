"""What the OpenAPI document says of errors: which statuses each route may answer with, and in which shape."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from services.gateway.mlflow.errors import is_mlflow
from services.gateway.openai.errors import is_openai
from services.gateway.problems import MEDIA_TYPE

ALWAYS: Final = (400, 401, 403, 404, 422, 429, 503, 504)
WITHOUT_A_BODY: Final = (408, 414, 431)
TOKEN: Final = "/api/v1/token"  # noqa: S105
WITH_A_BODY: Final = (409, 413, 415)
TEXT: Final = {"type": "string"}
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "Problem": {
        "description": "An error, as RFC 9457 has it.",
        "required": ["type", "title", "status", "detail", "trace_id"],
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT | {"description": "what is wrong, and what to do"},
            "field": TEXT | {"description": "the part of the request that is wrong"},
            "trace_id": TEXT,
            "errors": {"type": "array", "items": {"type": "object", "additionalProperties": TEXT}},
        },
    },
    "OpenAiError": {
        "description": "An error, as clients of OpenAI's API read it.",
        "required": ["error"],
        "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"]}},
    },
    "OAuthError": {
        "description": "An error, as RFC 6749 has it.",
        "required": ["error"],
        "properties": {"error": TEXT, "error_description": TEXT},
    },
    "MlflowError": {
        "description": "An error, as clients of MLflow read it.",
        "required": ["error_code", "message"],
        "properties": {"error_code": TEXT, "message": TEXT},
    },
}


def install(app: FastAPI) -> None:
    """Let the app's document name its errors."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_errors(written())
        assert app.openapi_schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_errors(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas |= {name: {"title": name, "type": "object"} | shape for name, shape in SHAPES.items()}
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's, whose place our own shapes take
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            statuses = ALWAYS if method == "get" else ALWAYS + WITH_A_BODY
            answers = {str(status): _answer(path, status) for status in sorted(statuses)}
            bare = {str(status): {"description": HTTPStatus(status).phrase} for status in WITHOUT_A_BODY}
            operation["responses"] |= answers | bare


def _answer(path: str, status: int) -> dict[str, Any]:
    shape, kind = _shape(path)
    content: dict[str, Any] = {kind: {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    if path == TOKEN:
        content |= {"application/json": {"schema": {"$ref": "#/components/schemas/OAuthError"}}}
    if status == HTTPStatus.BAD_REQUEST:
        content |= {"text/plain": {"schema": TEXT}}  # of the server itself, for what is no HTTP
    return {"description": HTTPStatus(status).phrase, "content": content}


def _shape(path: str) -> tuple[str, str]:
    if is_openai(path):
        return "OpenAiError", "application/json"
    return ("MlflowError", "application/json") if is_mlflow(path) else ("Problem", MEDIA_TYPE)
