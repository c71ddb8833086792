"""What the platform's refusals become in Python."""

from typing import Any

import httpx


class ApiError(Exception):
    """The platform refused: `status` as HTTP has it, `field` where one is to blame, `retry_after` in seconds."""

    def __init__(self, status: int, detail: str, field: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.field, self.retry_after = status, detail, field, retry_after


class Unavailable(ApiError):
    """A part of the platform, or all of it, is not reachable now."""


class NotFound(ApiError):
    """There is no such thing."""


def error_of(response: httpx.Response) -> ApiError:
    """The error of a problem document, or of a flat error of the Open Inference Protocol."""
    body = _body(response)
    kind = {404: NotFound, 503: Unavailable}.get(response.status_code, ApiError)
    detail = body.get("detail") or body.get("error") or response.reason_phrase
    retry_after = response.headers.get("Retry-After")
    return kind(response.status_code, str(detail), body.get("field"), float(retry_after) if retry_after else None)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
