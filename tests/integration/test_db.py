"""What a database raises, in our own words."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from shared.db import Database
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.settings import ServiceSettings


@pytest.fixture
async def database(settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Database]:
    opened = Database(settings_of("registry"))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("query", "value"),
    [("SELECT $1::integer", 2**40), ("SELECT $1::text", "\0"), ("SELECT $1::jsonb", {"a": "\0"})],
)
async def test_values_that_no_column_takes_are_the_senders_fault(database: Database, query: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be stored"):
        async with database.transaction() as tx:
            await tx.fetchval(query, value)


async def test_non_finite_numbers_are_stored(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.fetchval("SELECT $1::jsonb", {"loss": float("nan")}) == {"loss": "NaN"}


async def test_a_repeat_is_a_conflict_and_a_lost_server_passes(database: Database) -> None:
    with pytest.raises(Conflict, match="pkey"):
        async with database.transaction() as tx:
            for _ in range(2):
                await tx.execute("INSERT INTO aggregates VALUES ('a', 1)")
    with pytest.raises(Unavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
