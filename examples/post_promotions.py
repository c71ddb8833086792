"""Posts each promotion of a version to a webhook, as an extension: python -m examples.post_promotions http://...

Register it first, and keep what is printed; --says is for those who want to hear that one was posted:

    aimass extensions register promotions --hears VersionPromoted --start all \
        --says promotion_posted=examples/promotion_posted.schema.json > promotions.json

What was posted is acknowledged. Where nobody takes it, it comes again later, ever less often: nothing is lost, and the
receiver tells a repeat by its id. Needs nats-py and nothing of the platform.
"""

import argparse
import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

SECONDS = 10.0
LONGEST_WAIT = 300.0
POSTED = "promotion_posted"


async def run(credentials: dict[str, Any], url: str, most: int, seconds: float) -> None:
    """Post until there were `most`, or none came for so many seconds."""
    names = ("user", "password", "inbox_prefix")
    connection = await nats.connect(credentials["url"], **{name: credentials[name] for name in names})
    subscription = await connection.jetstream().pull_subscribe_bind(credentials["consumer"], credentials["stream"])
    posted = 0
    try:
        while posted < most:
            (message,) = await subscription.fetch(1, timeout=seconds)
            posted += await handle(connection, credentials, message, url)
    except nats.errors.TimeoutError:
        print(f"no promotion for {seconds:g} s")
    finally:
        await connection.drain()


async def handle(connection: Client, credentials: dict[str, Any], message: Msg, url: str) -> bool:
    """Whether it was posted; what was not comes again."""
    headers = message.headers or {}
    try:
        await asyncio.to_thread(post, url, headers, message.data)
    except OSError as error:
        wait = min(2.0**message.metadata.num_delivered, LONGEST_WAIT)
        print(f"not posted, again in {wait:g} s: {error}", flush=True)
        await message.nak(delay=wait)
        return False
    if POSTED in credentials["publish"]:
        await tell(connection, credentials["publish"][POSTED], headers, message.data, url)
    await message.ack_sync()
    print(f"posted {message.data.decode()}", flush=True)
    return True


def post(url: str, headers: dict[str, str], data: bytes) -> None:
    """An event in CloudEvents' binary mode over HTTP; raises OSError when it is not taken."""
    known = {name: value for name, value in headers.items() if name.startswith("ce-")}
    request = urllib.request.Request(url, data, known | {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
        return


async def tell(connection: Client, subject: str, headers: dict[str, str], data: bytes, url: str) -> None:
    """Say as an own event that it was posted; the same id again is the same event."""
    fact = {"model": json.loads(data)["model"], "version": json.loads(data)["version"], "to": url}
    cause = {"ce-id": headers["ce-id"], "ce-causationid": headers["ce-id"]}
    if "ce-correlationid" in headers:
        cause["ce-correlationid"] = headers["ce-correlationid"]
    answer = await connection.request(subject, json.dumps(fact).encode(), timeout=SECONDS, headers=cause)
    if (answer.headers or {}).get("aimass-error"):
        print(f"not said: {answer.data.decode()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Post promotions to a webhook.")
    parser.add_argument("url", help="where to post to")
    parser.add_argument("--credentials", type=Path, default=Path("promotions.json"))
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3600)
    given = parser.parse_args()
    asyncio.run(run(json.loads(given.credentials.read_text()), given.url, given.most, given.seconds))


if __name__ == "__main__":
    main()
