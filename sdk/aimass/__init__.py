"""aimass: the Python client of AI Mass."""

from aimass.client import Client
from aimass.errors import ApiError, NotFound, Unavailable

__all__ = ["ApiError", "Client", "NotFound", "Unavailable"]
