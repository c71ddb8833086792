"""The error tree: the docstring is the default message; edges map an error to a status, an ack or a retry."""

from typing import Any, ClassVar


class AimassError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    transient: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, field: str | None = None, retry_after: int | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.field = field
        self.retry_after = retry_after
        super().__init__(self.message)

    def to_wire(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "field": self.field, "retry_after": self.retry_after}


class InvalidInput(AimassError):
    """The input is not valid."""

    code = "invalid_input"
    status = 422


class Unauthenticated(AimassError):
    """A valid API key or access token is needed: send it as 'Authorization: Bearer ...'."""

    code = "unauthenticated"
    status = 401


class SecondFactorNeeded(Unauthenticated):
    """The password is right; this user has a second factor: send its code, or a recovery code, as 'code' too."""

    code = "second_factor_needed"


class Forbidden(AimassError):
    """Your roles do not permit this."""

    code = "forbidden"
    status = 403


class NotFound(AimassError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class Conflict(AimassError):
    """The state of this thing does not allow that now."""

    code = "conflict"
    status = 409


class TooLarge(AimassError):
    """The body is too large."""

    code = "too_large"
    status = 413


class Unavailable(AimassError):
    """A part of the platform is not reachable now; try again."""

    code = "unavailable"
    status = 503
    transient = True

    def __init__(self, message: str | None = None, *, field: str | None = None, retry_after: int | None = 1) -> None:
        super().__init__(message, field=field, retry_after=retry_after)


class TooManyAttempts(AimassError):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"
    status = 429


class TooManyRequests(AimassError):
    """Too many requests; wait before the next one."""

    code = "too_many_requests"
    status = 429


class TooManyEvents(AimassError):
    """This extension says more events than it may; wait before the next one."""

    code = "too_many_events"
    status = 429


class TooManyPending(AimassError):
    """Too many deferred requests of this project still wait; try again."""

    code = "too_many_pending"
    status = 429


class QuotaUsedUp(AimassError):
    """A quota of this project is used up."""

    code = "quota_used_up"
    status = 429


class ModelFailed(AimassError):
    """The model could not compute this request."""

    code = "model_failed"
    status = 500


class DeadlineExceeded(AimassError):
    """The answer did not come before the deadline."""

    code = "deadline_exceeded"
    status = 504
    transient = True


class Withdrawn(AimassError):
    """The caller has gone before the answer came."""

    code = "withdrawn"
    status = 499


class LeaseLost(AimassError):
    """Another worker holds this task now; its writes are refused by the fencing number."""

    code = "lease_lost"
    status = 409


class Drift(AimassError):
    """The stream or consumer on the bus differs from shared/streams.py: run the admin step again."""

    code = "drift"


class DigestMismatch(AimassError):
    """The artifact's content does not match its digest."""

    code = "digest_mismatch"


def _tree(root: type[AimassError]) -> dict[str, type[AimassError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found = _tree(child) | found  # one without a code of its own is a service's own affair
    return found


def from_wire(body: dict[str, Any]) -> AimassError:
    """The error that another service answered with; unknown codes become the root."""
    kind = _tree(AimassError).get(body.get("code", ""), AimassError)
    return kind(body.get("message"), field=body.get("field"), retry_after=body.get("retry_after"))
