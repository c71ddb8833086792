"""Errors in the shape that clients of MLflow read. Pure."""

from typing import Any, Final

from shared.errors import AimassError

ROOT: Final = "/mlflow/"
CODES: Final = {
    "unauthenticated": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not_found": "RESOURCE_DOES_NOT_EXIST",
    "conflict": "RESOURCE_ALREADY_EXISTS",
    "run_cancelled": "INVALID_STATE",
    "invalid_input": "INVALID_PARAMETER_VALUE",
    "bad_request": "INVALID_PARAMETER_VALUE",
    "too_large": "REQUEST_LIMIT_EXCEEDED",
    "unavailable": "TEMPORARILY_UNAVAILABLE",
    "deadline_exceeded": "TEMPORARILY_UNAVAILABLE",
}
STATUSES: Final = {"invalid_input": 400, "conflict": 400, "run_cancelled": 400}


def is_mlflow(path: str) -> bool:
    return path.startswith(ROOT)


def status_of(error: AimassError) -> int:
    """What is not valid, or there already, is 400 there."""
    return STATUSES.get(error.code, error.status)


def error_document(error: AimassError) -> dict[str, Any]:
    """An error with the code that their clients look for."""
    return {"error_code": CODES.get(error.code, "INTERNAL_ERROR"), "message": error.message}


def no_route(method: str, path: str) -> dict[str, Any]:
    """By this code clients know that a server has not all of the protocol, and do without."""
    return {"error_code": "ENDPOINT_NOT_FOUND", "message": f"there is no {method} {path}"}
