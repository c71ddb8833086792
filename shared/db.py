"""The asyncpg pool of a service, its transactions, and the one place where driver errors become ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg
from asyncpg.exceptions._base import DataError as ArgumentError
from asyncpg.pool import PoolConnectionProxy
from pydantic_core import to_json

from shared.errors import AimassError, Conflict, InvalidInput, Unavailable
from shared.settings import ServiceSettings

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
ACQUIRE_SECONDS = 5.0
STATEMENT_SECONDS = 15
CLOSE_SECONDS = 5.0

_WRONG = (asyncpg.DataError, ArgumentError)
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # between the server's last word and the end of the connection
    ConnectionError,
    TimeoutError,
)
_RETRY = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InsufficientResourcesError,  # a full disk: no fault of what was to be kept
)


@contextmanager
def translated() -> Iterator[None]:
    """Raises Unavailable for a lost database or a lost race, Conflict for a broken unique constraint, InvalidInput for
    a value that no column takes. A cancellation stays one, though the driver may fail to undo what it broke off.
    """
    before = _cancellations()
    try:
        yield
    except (*_WRONG, asyncpg.UniqueViolationError, *_GONE, *_RETRY) as error:
        raise (asyncio.CancelledError() if _cancellations() > before else _ours(error)) from error


def _cancellations() -> int:
    """How often the task at hand was asked to end; a time limit of its own that has passed takes its one back."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _ours(error: Exception) -> AimassError:
    if isinstance(error, _WRONG):
        return InvalidInput(f"a value cannot be stored: {error}")
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict(f"this exists already: {error.constraint_name}")
    if isinstance(error, _GONE):
        return Unavailable("the database is not reachable now; try again")
    return Unavailable("the database is busy or full; try again")


def _to_json(value: Any) -> str:
    """JSON knows no NaN and no infinity: they become strings, as in proto3 JSON."""
    return to_json(value, inf_nan_mode="strings").decode()


async def _set_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("jsonb", encoder=_to_json, decoder=json.loads, schema="pg_catalog")


async def _nothing_to_reset(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Settings, locks and cursors of ours end with their transaction: a round trip less for each use."""


class Database:
    """A pool that connects when first used, so that a service starts with the database down."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
        return self._pool

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        return await asyncpg.create_pool(
            self._settings.database_url.get_secret_value(),
            min_size=0,
            max_size=self._settings.database_pool,
            timeout=ACQUIRE_SECONDS,
            command_timeout=STATEMENT_SECONDS + 5,
            max_inactive_connection_lifetime=60,
            init=_set_codecs,
            reset=_nothing_to_reset,
            server_settings={
                "statement_timeout": str(STATEMENT_SECONDS * 1000),
                "lock_timeout": "5000",
                "idle_in_transaction_session_timeout": "30000",
            },
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        with translated():
            pool = await self._opened()
            async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed when the block ends without an error."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def ping(self) -> None:
        async with self.connection() as connection:
            await connection.execute("SELECT 1", timeout=2)

    def in_use(self) -> int:
        return 0 if self._pool is None else self._pool.get_size() - self._pool.get_idle_size()

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
