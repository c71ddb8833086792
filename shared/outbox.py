"""The outbox: messages commit with the change that they tell of, and a relay publishes them afterwards.

Polls for unpublished rows (never for ids above the last one seen); one relay at a time per bucket of aggregates.
"""

import asyncio
import math
import time
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto

import asyncpg
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext

from shared import failpoints, observe
from shared.bus import Bus
from shared.context import Context
from shared.db import Connection, Database
from shared.envelope import Envelope
from shared.errors import AimassError, Unavailable
from shared.events.base import Event
from shared.work import Outgoing, Work

BUCKETS = 8
BATCH = 300
EVENTS = "evt."
MANY = 8
GATHER_SECONDS = 0.05  # of a dense flow, so that a batch, which is synced once, holds more of it
BUSY_SECONDS = 0.25
IDLE_SECONDS = 1.5
FRESH_SECONDS = 3.0
PUBLISH_SECONDS = 3.0
LAG_SECONDS = 5.0
LOCK_CLASS = 7301

# Keep a message until the relay has published it.
INSERT = "INSERT INTO outbox (id, bucket, subject, headers, payload) VALUES ($1, $2, $3, $4, $5)"
# Keep an event with the next number of its aggregate; the lock of that number's row also serialises its writers.
INSERT_NUMBERED = """
WITH numbered AS (
    INSERT INTO aggregates (aggregate, sequence) VALUES ($6, 1)
    ON CONFLICT (aggregate) DO UPDATE SET sequence = aggregates.sequence + 1 RETURNING sequence
)
INSERT INTO outbox (id, bucket, subject, headers, payload)
SELECT $1, $2, $3, $4::jsonb || jsonb_build_object('ce-sequence', sequence::text), $5 FROM numbered
"""
# The oldest messages of all buckets that no other relay of this schema works on.
SELECT_BATCH = """
WITH ours AS MATERIALIZED (
    SELECT array_agg(bucket) AS buckets FROM generate_series(0, $2 - 1) AS bucket
    WHERE pg_try_advisory_xact_lock($1, hashtext(current_schema()) + bucket)
)
SELECT position, id, subject, headers, payload FROM outbox
WHERE published_at IS NULL AND dead_at IS NULL AND bucket = ANY((SELECT buckets FROM ours)::smallint[])
ORDER BY position LIMIT $3 FOR UPDATE SKIP LOCKED
"""
# The bus holds these messages.
MARK_PUBLISHED = "UPDATE outbox SET published_at = now(), attempts = attempts + 1 WHERE position = ANY($1)"
# This message did not get through this time.
MARK_FAILED = "UPDATE outbox SET attempts = attempts + 1, last_error = $2 WHERE position = $1"
# This message can never be published.
MARK_DEAD = "UPDATE outbox SET dead_at = now(), attempts = attempts + 1, last_error = $2 WHERE position = $1"
# Messages of a transaction that the bus does not hold yet.
COUNT_PENDING = "SELECT count(*) FROM outbox WHERE id = ANY($1) AND published_at IS NULL"
# How many messages are unpublished, the age of the oldest of them in seconds, and the count of dead ones.
LAG = """
SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS age, count(*) AS waiting,
       (SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL) AS dead
FROM outbox WHERE published_at IS NULL AND dead_at IS NULL
"""
# Published messages are of no use after a day; they lie where the positions begin.
PRUNE = """
DELETE FROM outbox WHERE published_at < now() - interval '1 day' AND position = ANY(ARRAY(
    SELECT position FROM outbox WHERE dead_at IS NULL ORDER BY position LIMIT $1
))
"""
PRUNE_AT_ONCE = 1000


def _envelope(event: Event, context: Context, source: str) -> Envelope:
    return Envelope(
        type=event.type_name(),
        source=source,
        subject=event.aggregate,
        project=context.project,
        actor=context.actor,
        correlation_id=context.correlation_id,
        causation_id=context.causation_id,
        traceparent=observe.current_traceparent() or context.traceparent,
    )


def _outgoing(event: Event, context: Context, source: str) -> Outgoing:
    envelope = _envelope(event, context, source)
    payload = event.model_dump_json().encode()
    return Outgoing(event.aggregate, event.subject(context.project), payload, envelope.to_headers(), envelope.id)


async def write(tx: Connection, said: Iterable[Event | Outgoing], context: Context, source: str) -> list[str]:
    """Store messages in the transaction of the change; returns their ids."""
    return [await _store(tx, item, context, source) for item in said]


async def _store(tx: Connection, said: Event | Outgoing, context: Context, source: str) -> str:
    message = said if isinstance(said, Outgoing) else _outgoing(said, context, source)
    aggregate = f"{context.project}/{message.aggregate}"
    bucket = zlib.crc32(aggregate.encode()) % BUCKETS
    row = (message.id, bucket, message.subject, message.headers, message.payload)
    await (tx.execute(INSERT, *row) if message is said else tx.execute(INSERT_NUMBERED, *row, aggregate))
    return message.id


class Outcome(Enum):
    """What became of a row: WAIT keeps it, and all of its aggregate behind it, for the next poll."""

    PUBLISHED = auto()
    DEAD = auto()
    WAIT = auto()


@dataclass(frozen=True)
class Lag:
    """What the bus does not hold: messages that wait, the age of the oldest in seconds, and dead ones."""

    age: float
    waiting: int
    dead: int


@dataclass(frozen=True)
class Tried:
    """A row of the outbox, and what became of it."""

    position: int
    outcome: Outcome
    error: str = ""


def _by_aggregate(rows: list[asyncpg.Record]) -> Iterable[list[asyncpg.Record]]:
    """Rows whose order matters; raw messages are told apart by their subjects."""
    found: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        found.setdefault(row["headers"].get("ce-subject", row["subject"]), []).append(row)
    return found.values()


def _headers(row: asyncpg.Record) -> dict[str, str]:
    own: dict[str, str] = row["headers"]
    return {"Nats-Msg-Id": str(row["id"])} | own


class Relay:
    """Publishes what the outbox holds; `wake` after a commit saves the wait for the next poll."""

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source
        self._woken = asyncio.Event()
        self._lag = Lag(0.0, 0, 0)
        self._looked = -math.inf

    def wake(self) -> None:
        self._woken.set()

    @asynccontextmanager
    async def work(self, context: Context) -> AsyncIterator[Work[None]]:
        """A transaction outside of any message, whose own messages this relay publishes after the commit."""
        async with self._database.transaction() as tx:
            work: Work[None] = Work(tx, context, None)
            yield work
            work.written = await write(tx, work.said, context, self._source)
        for name in [type(said).__name__ for said in work.said] or ["nothing"]:
            failpoints.reach("committed", name)
        self.wake()

    async def run(self, bus: Bus) -> None:
        """Publish for ever; a lost database or bus only delays."""
        published = 0
        while True:
            expected = published > 0 or self._woken.is_set()
            self._woken.clear()
            try:
                waiting = bus.is_connected() and (expected or (await self._look()).waiting)
                published = await self._publish_pending(bus) if waiting else 0
            except AimassError as error:
                published = 0
                observe.log().warning("outbox waits", error=error.message)
            if MANY <= published < BATCH:
                await asyncio.sleep(GATHER_SECONDS)
            elif published < BATCH:
                await self._wait(BUSY_SECONDS if published else IDLE_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _publish_pending(self, bus: Bus) -> int:
        """Publish what is there; returns how many the bus took."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch(SELECT_BATCH, LOCK_CLASS, BUCKETS, BATCH)
            events = [row for row in rows if row["subject"].startswith(EVENTS)]
            if len(events) > 1 and await self._publish_together(bus, events):
                tried = [Tried(row["position"], Outcome.PUBLISHED) for row in events]
                rows = [row for row in rows if not row["subject"].startswith(EVENTS)]
            else:
                tried = []
            return await self._settle(tx, tried + await self._publish_each(bus, rows)) if rows or tried else 0

    async def _publish_together(self, bus: Bus, rows: list[asyncpg.Record]) -> bool:
        """Whether the bus took all at once; it takes none where it knows one already, or one does not fit."""
        try:
            messages = [(row["subject"], row["payload"], _headers(row)) for row in rows]
            await bus.publish_together(messages, PUBLISH_SECONDS)
        except Exception as error:
            observe.log().info("outbox publishes one by one", messages=len(rows), error=repr(error))
            return False
        for row in rows:
            self._note_published(row)
        return True

    async def _publish_each(self, bus: Bus, rows: list[asyncpg.Record]) -> list[Tried]:
        """Aggregates side by side, each in its order."""
        tried = await asyncio.gather(*(self._publish_in_order(bus.js, found) for found in _by_aggregate(rows)))
        return [one for several in tried for one in several]

    async def _publish_in_order(self, js: JetStreamContext, rows: list[asyncpg.Record]) -> list[Tried]:
        """What became of these, up to the first that has to wait."""
        tried: list[Tried] = []
        for row in rows:
            tried.append(await self._publish(js, row))
            if tried[-1].outcome is Outcome.WAIT:
                break
        return tried

    async def _publish(self, js: JetStreamContext, row: asyncpg.Record) -> Tried:
        try:
            await js.publish(row["subject"], row["payload"], headers=_headers(row), timeout=PUBLISH_SECONDS)
        except MaxPayloadError as error:
            return Tried(row["position"], Outcome.DEAD, repr(error))
        except Exception as error:
            observe.log().warning("outbox publish failed", subject=row["subject"], error=repr(error))
            return Tried(row["position"], Outcome.WAIT, repr(error))
        self._note_published(row)
        return Tried(row["position"], Outcome.PUBLISHED)

    def _note_published(self, row: asyncpg.Record) -> None:
        kind = row["headers"].get("ce-type", "raw")
        failpoints.reach("published", kind.rpartition(".")[2])
        observe.PUBLISHED.labels(self._source, kind).inc()

    async def _settle(self, tx: Connection, tried: list[Tried]) -> int:
        done = [one.position for one in tried if one.outcome is Outcome.PUBLISHED]
        await tx.execute(MARK_PUBLISHED, done)
        for one in tried:
            if one.outcome is not Outcome.PUBLISHED:
                mark = MARK_DEAD if one.outcome is Outcome.DEAD else MARK_FAILED
                await tx.execute(mark, one.position, one.error)
        return len(done)

    async def wait_published(self, ids: list[str], seconds: float) -> None:
        """Return when the bus holds these messages.

        Raises Unavailable when it does not within these seconds; they will still be published later.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        self.wake()
        while await self._pending(ids):
            if loop.time() > deadline:
                raise Unavailable("stored, but the bus did not take the message yet; it will be published later")
            await asyncio.sleep(0.02)

    async def _pending(self, ids: list[str]) -> int:
        async with self._database.connection() as connection:
            return int(await connection.fetchval(COUNT_PENDING, ids))

    async def lag(self) -> Lag:
        """What was last found of it, unless that is old; raises Unavailable without a database."""
        return self._lag if time.monotonic() - self._looked < FRESH_SECONDS else await self._look()

    async def _look(self) -> Lag:
        self._looked = -math.inf
        async with self._database.connection() as connection:
            [row] = await connection.fetch(LAG, timeout=LAG_SECONDS)
        self._lag, self._looked = Lag(**row), time.monotonic()
        return self._lag

    async def prune(self) -> None:
        async with self._database.connection() as connection:
            while await connection.execute(PRUNE, PRUNE_AT_ONCE) != "DELETE 0":
                pass
