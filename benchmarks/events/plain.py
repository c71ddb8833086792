"""nats-py alone: `publish COUNT` awaits acknowledgements side by side, `pull COUNT` acknowledges each message."""

import asyncio
import json
import os
import sys
import time

import nats
import uvloop
from nats.js import JetStreamContext

from benchmarks.events.pace import told

SUBJECT = "evt.bench.plain.v1.said"
BATCH = 64
PAYLOAD = b"x" * 400


async def publish(js: JetStreamContext, count: int) -> None:
    pending = [await js.publish_async(SUBJECT, PAYLOAD) for _ in range(count)]
    await asyncio.gather(*pending)


async def pull(js: JetStreamContext, count: int) -> None:
    subscription = await js.pull_subscribe(SUBJECT, stream="EVT")
    left = count
    while left:
        messages = await subscription.fetch(min(BATCH, left), timeout=5)
        await asyncio.gather(*(message.ack_sync(timeout=5) for message in messages))
        left -= len(messages)


async def main() -> None:
    connection = await nats.connect(os.environ["BENCH_NATS"])
    js = connection.jetstream(timeout=30, publish_async_max_pending=BATCH)
    await told("ready")
    began = time.perf_counter()
    await {"publish": publish, "pull": pull}[sys.argv[1]](js, int(sys.argv[2]))
    await told(json.dumps({"seconds": time.perf_counter() - began}))
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
