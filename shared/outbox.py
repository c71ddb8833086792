"""The outbox: messages commit with the change that they tell of, and a relay publishes them afterwards.

Polls for unpublished rows (never for ids above the last one seen); one relay at a time per bucket of aggregates.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import Any

import asyncpg
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext

from shared import failpoints, observe
from shared.context import Context
from shared.db import Connection, Database
from shared.envelope import Envelope
from shared.errors import AimassError, Unavailable
from shared.events.base import Event
from shared.work import Outgoing, Work

BUCKETS = 8
BATCH = 100
BUSY_SECONDS = 0.25
IDLE_SECONDS = 1.5
PUBLISH_SECONDS = 3.0
LOCK_CLASS = 7301

# The next number of an aggregate; the row lock also serialises its writers.
NEXT_SEQUENCE = """
INSERT INTO aggregates (aggregate, sequence) VALUES ($1, 1)
ON CONFLICT (aggregate) DO UPDATE SET sequence = aggregates.sequence + 1 RETURNING sequence
"""
# Keep a message until the relay has published it.
INSERT = "INSERT INTO outbox (id, bucket, subject, headers, payload) VALUES ($1, $2, $3, $4, $5)"
# The buckets with something to publish.
PENDING_BUCKETS = "SELECT DISTINCT bucket FROM outbox WHERE published_at IS NULL AND dead_at IS NULL"
# One relay works on a bucket of one schema at a time.
LOCK_BUCKET = "SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema()) + $2)"
# The oldest messages of a bucket.
SELECT_BATCH = """
SELECT position, id, subject, headers, payload FROM outbox
WHERE bucket = $1 AND published_at IS NULL AND dead_at IS NULL
ORDER BY position LIMIT $2 FOR UPDATE SKIP LOCKED
"""
# The bus holds this message.
MARK_PUBLISHED = "UPDATE outbox SET published_at = now(), attempts = attempts + 1 WHERE position = ANY($1)"
# This message did not get through this time.
MARK_FAILED = "UPDATE outbox SET attempts = attempts + 1, last_error = $2 WHERE position = $1"
# This message can never be published.
MARK_DEAD = "UPDATE outbox SET dead_at = now(), attempts = attempts + 1, last_error = $2 WHERE position = $1"
# Messages of a transaction that the bus does not hold yet.
COUNT_PENDING = "SELECT count(*) FROM outbox WHERE id = ANY($1) AND published_at IS NULL"
# The age of the oldest unpublished message in seconds, and the count of dead ones.
LAG = """
SELECT coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE dead_at IS NULL)), 0)::float AS age,
       count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead
FROM outbox WHERE published_at IS NULL
"""
# Published messages are of no use after a day.
PRUNE = "DELETE FROM outbox WHERE published_at < now() - interval '1 day'"


async def _envelope(tx: Connection, event: Event, context: Context, source: str) -> Envelope:
    return Envelope(
        type=event.type_name(),
        source=source,
        subject=event.aggregate,
        sequence=await tx.fetchval(NEXT_SEQUENCE, f"{context.project}/{event.aggregate}"),
        project=context.project,
        actor=context.actor,
        correlation_id=context.correlation_id,
        causation_id=context.causation_id,
        traceparent=observe.current_traceparent() or context.traceparent,
    )


async def _outgoing(tx: Connection, said: Event | Outgoing, context: Context, source: str) -> Outgoing:
    if isinstance(said, Outgoing):
        return said
    envelope = await _envelope(tx, said, context, source)
    payload = said.model_dump_json().encode()
    return Outgoing(said.aggregate, said.subject(context.project), payload, envelope.to_headers(), envelope.id)


async def write(tx: Connection, said: Iterable[Event | Outgoing], context: Context, source: str) -> list[str]:
    """Store messages in the transaction of the change; returns their ids."""
    messages = [await _outgoing(tx, item, context, source) for item in said]
    for message in messages:
        bucket = zlib.crc32(f"{context.project}/{message.aggregate}".encode()) % BUCKETS
        await tx.execute(INSERT, message.id, bucket, message.subject, message.headers, message.payload)
    return [message.id for message in messages]


class Outcome(Enum):
    """What became of a row: WAIT keeps it, and all behind it in its bucket, for the next poll."""

    PUBLISHED = auto()
    DEAD = auto()
    WAIT = auto()


class Relay:
    """Publishes what the outbox holds; `wake` after a commit saves the wait for the next poll."""

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source
        self._woken = asyncio.Event()

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

    async def run(self, js: JetStreamContext) -> None:
        """Publish for ever; a lost database or bus only delays."""
        while True:
            self._woken.clear()
            pause = BUSY_SECONDS
            try:
                pause = BUSY_SECONDS if await self.publish_pending(js) else IDLE_SECONDS
            except AimassError as error:
                observe.log().warning("outbox waits", error=error.message)
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def publish_pending(self, js: JetStreamContext) -> int:
        """Publish what is there; returns how many messages the bus took."""
        async with self._database.connection() as connection:
            buckets = await connection.fetch(PENDING_BUCKETS)
        return sum([await self._publish_bucket(js, row["bucket"]) for row in buckets])

    async def _publish_bucket(self, js: JetStreamContext, bucket: int) -> int:
        async with self._database.transaction() as tx:
            if not await tx.fetchval(LOCK_BUCKET, LOCK_CLASS, bucket):
                return 0
            done: list[int] = []
            for row in await tx.fetch(SELECT_BATCH, bucket, BATCH):
                outcome = await self._publish(js, tx, row)
                if outcome is Outcome.WAIT:
                    break
                if outcome is Outcome.PUBLISHED:
                    done.append(row["position"])
            await tx.execute(MARK_PUBLISHED, done)
            return len(done)

    async def _publish(self, js: JetStreamContext, tx: Connection, row: asyncpg.Record) -> Outcome:
        headers = {"Nats-Msg-Id": str(row["id"])} | row["headers"]
        try:
            await js.publish(row["subject"], row["payload"], headers=headers, timeout=PUBLISH_SECONDS)
        except MaxPayloadError as error:
            await tx.execute(MARK_DEAD, row["position"], repr(error))
            return Outcome.DEAD
        except Exception as error:
            observe.log().warning("outbox publish failed", subject=row["subject"], error=repr(error))
            await tx.execute(MARK_FAILED, row["position"], repr(error))
            return Outcome.WAIT
        kind = row["headers"].get("ce-type", "raw")
        failpoints.reach("published", kind.rpartition(".")[2])
        observe.PUBLISHED.labels(self._source, kind).inc()
        return Outcome.PUBLISHED

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

    async def lag(self) -> dict[str, Any]:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(LAG)
        return dict(row) if row else {}

    async def prune(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(PRUNE)
