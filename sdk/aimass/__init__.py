"""aimass: the Python client of AI Mass."""

from aimass.client import AsyncClient, Client
from aimass.errors import (
    ApiError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    NotFound,
    SecondFactorNeeded,
    TooLarge,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Forbidden",
    "Invalid",
    "NotFound",
    "SecondFactorNeeded",
    "TooLarge",
    "TooManyAttempts",
    "Unauthenticated",
    "Unavailable",
]
