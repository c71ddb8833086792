"""Reads the project's events with plain nats-py, one JSON line each: python -m examples.read_events

What was read is acknowledged, so that the next run goes on from there, whatever happened in between.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.msg import Msg

CREDENTIALS = Path(".aimass/extension.json")


async def read(credentials: dict[str, str], most: int, seconds: float) -> None:
    """Print events until there were `most`, or none came for so many seconds."""
    names = ("user", "password", "inbox_prefix")
    connection = await nats.connect(credentials["url"], **{name: credentials[name] for name in names})
    stream = connection.jetstream()
    subscription = await stream.pull_subscribe_bind(credentials["consumer"], credentials["stream"])
    try:
        for _ in range(most):
            (message,) = await subscription.fetch(1, timeout=seconds)
            print(json.dumps(event(message)), flush=True)
            await message.ack()
    except nats.errors.TimeoutError:
        print(f"no event for {seconds:g} s")
    finally:
        await connection.flush()
        await connection.close()


def event(message: Msg) -> dict[str, Any]:
    """Attributes come as headers (CloudEvents in binary mode), data as the body."""
    headers = message.headers or {}
    attributes = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    return attributes | {"data": json.loads(message.data)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Read the project's events.")
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    asyncio.run(read(json.loads(given.credentials.read_text()), given.most, given.seconds))


if __name__ == "__main__":
    main()
