"""FastStream alone: a durable pull subscriber whose handler commits a row, without inbox, outbox or settling rules."""

import asyncio
import os

import asyncpg
import uvloop
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.js.api import ConsumerConfig, DeliverPolicy
from pydantic import BaseModel

from shared.streams import MAX_WORKERS

broker = NatsBroker(os.environ["BENCH_NATS"], logger=None)


class Changed(BaseModel):
    note: str = ""


@broker.subscriber(
    "evt.default.tasks.v1.task_changed",
    stream=JStream("EVT", declare=False),
    durable="bench",
    config=ConsumerConfig(durable_name="bench", deliver_policy=DeliverPolicy.NEW),
    pull_sub=PullSub(batch_size=1),
    max_workers=MAX_WORKERS,
)
async def on_changed(changed: Changed, message: NatsMessage) -> None:
    await pools[0].execute("INSERT INTO bench_effects (id) VALUES ($1)", changed.note)


pools: list["asyncpg.Pool[asyncpg.Record]"] = []


async def main() -> None:
    pools.append(await asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=1, max_size=MAX_WORKERS))
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
