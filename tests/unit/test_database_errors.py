"""What the driver says of a database that goes away is for the caller to try again, never an error of ours."""

import asyncpg
import pytest

from shared.db import translated
from shared.errors import Unavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CrashShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("the database system is in recovery mode"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_database_that_goes_away_is_not_reachable_now(error: Exception) -> None:
    with pytest.raises(Unavailable, match="not reachable now"), translated():
        raise error


async def test_a_full_disk_is_no_fault_of_what_was_to_be_kept() -> None:
    """An event that could not be stored for it is tried again, and never a dead letter."""
    with pytest.raises(Unavailable, match="full"), translated():
        raise asyncpg.DiskFullError("could not extend file")
