"""What a database raises, in our own words."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from shared.db import Connection, Database
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.settings import ServiceSettings

SECONDS = 30.0


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


async def in_vain(database: Database, begun: asyncio.Event) -> None:
    """As a loop that goes on once the database is there again."""
    while True:
        with suppress(Unavailable):
            async with database.transaction() as tx:
                await end_itself(tx)
                begun.set()
                await asyncio.Event().wait()


async def end_itself(tx: Connection) -> None:
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_who_is_cancelled_ends_though_the_transaction_cannot_be_undone(database: Database) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(in_vain(database, begun))
    await begun.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=SECONDS)
    assert done and task.cancelled()


async def test_a_time_limit_stays_one_though_the_transaction_cannot_be_undone(database: Database) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await in_vain(database, asyncio.Event())


async def test_a_time_limit_inside_is_no_end_of_the_task(database: Database) -> None:
    with pytest.raises(Unavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_sleep(60)", timeout=0.1)
