"""aimass: the Python client of AI Mass."""

from aimass.client import Client
from aimass.errors import (
    ApiError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "ApiError",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Forbidden",
    "Invalid",
    "NotFound",
    "TooLarge",
    "TooManyAttempts",
    "Unauthenticated",
    "Unavailable",
]
