"""What the platform's refusals become in Python."""

from typing import Any

import httpx


class ApiError(Exception):
    """The platform refused: `status` as HTTP has it, `field` where one is to blame, `retry_after` in seconds.

    `was_sent` is false where the request surely reached nobody.
    """

    was_sent = True

    def __init__(
        self,
        status: int,
        detail: str,
        field: str | None = None,
        retry_after: float | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail, self.field = status, detail, field
        self.retry_after, self.trace_id = retry_after, trace_id


class Invalid(ApiError):
    """What was sent is not valid; `field` says where."""


class Unauthenticated(ApiError):
    """The API key is missing, unknown, revoked or expired."""


class SecondFactorNeeded(Unauthenticated):
    """The password is right, and a code is asked for too."""


class Forbidden(ApiError):
    """The roles of the API key do not permit this."""


class NotFound(ApiError):
    """There is no such thing."""


class Conflict(ApiError):
    """The state of the thing does not allow this now."""


class TooLarge(ApiError):
    """The body is larger than the platform takes."""


class Unavailable(ApiError):
    """A part of the platform, or all of it, is not reachable now; `status` is 0 where nothing answered at all."""


class TooManyAttempts(ApiError):
    """Wait for `retry_after` seconds before the next attempt."""


class DeadlineExceeded(ApiError):
    """The answer did not come in time."""


KINDS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Invalid,
    429: TooManyAttempts,
    503: Unavailable,
    504: DeadlineExceeded,
}

KINDS_BY_TYPE: dict[str, type[ApiError]] = {"urn:aimass:problem:second_factor_needed": SecondFactorNeeded}


def error_of(response: httpx.Response) -> ApiError:
    """The error of a problem document, of the Open Inference Protocol, or of routes in the style of OpenAI's API."""
    body = _body(response)
    told = body.get("error")
    if isinstance(told, dict):  # as OpenAI's clients read it
        body = {"detail": told.get("message"), "field": told.get("param")}
    detail = str(body.get("detail") or told or response.reason_phrase)
    retry_after = response.headers.get("Retry-After")
    kind = KINDS_BY_TYPE.get(body.get("type", "")) or KINDS.get(response.status_code, ApiError)
    seconds = float(retry_after) if retry_after else None
    return kind(response.status_code, detail, body.get("field"), seconds, body.get("trace_id"))


def unreachable(error: httpx.TransportError) -> ApiError:
    """Nothing answered, or not in time."""
    found: ApiError
    if isinstance(error, httpx.TimeoutException):
        found = DeadlineExceeded(0, f"the gateway did not answer in time: {type(error).__name__}")
    else:
        found = Unavailable(0, f"the gateway is not reachable: {error}")
    found.was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return found


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
