"""Errors in the shape that clients of OpenAI's API read. Pure."""

from typing import Any, Final

from shared.errors import AimassError, InvalidInput, NotFound, Unauthenticated

ROOT: Final = "/v1/"
KINDS: Final = {403: "permission_error", 429: "rate_limit_error"}


def is_openai(path: str) -> bool:
    return path.startswith(ROOT)


def status_of(error: AimassError) -> int:
    """What is not valid is 400 there."""
    return 400 if isinstance(error, InvalidInput) else error.status


def error_document(error: AimassError) -> dict[str, Any]:
    """An error with the names that their clients look for."""
    kind = "server_error" if error.status >= 500 else KINDS.get(error.status, "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.field, "code": _code(error)}}


def _code(error: AimassError) -> str:
    if isinstance(error, Unauthenticated):
        return "invalid_api_key"
    return "model_not_found" if isinstance(error, NotFound) and error.field == "model" else error.code
