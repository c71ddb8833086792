"""Pulling: messages of a durable consumer in batches, each handed on as it comes.

nats-py's own fetch asks the server once for each message, or holds the first of a batch back until all have come or the
time is over. Here one pull of many waits at the server, and what has come of it is given at once.
"""

import asyncio
import json
import time
from typing import Any
from weakref import WeakSet

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

MARGIN_SECONDS = 0.5
PAUSE_SECONDS = 0.25
OVER = "408"


class Pulling:
    """A pull subscription with one pull at a time: `left` messages of it may still come, until the server ends it."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription
        self._messages = subscription._sub
        self._left = 0
        self._until = 0.0
        self._given: list[Msg] = []

    def again(self) -> None:
        """The server has forgotten the pull that waited there: ask anew, at once."""
        lost = Msg(self._subscription._nc, self._subscription._deliver, headers={"Status": OVER})
        self._messages._pending_queue.put_nowait(lost)

    async def unsubscribe(self) -> None:
        """Give back what nobody has settled, so that another process need not wait until its time is over."""
        for message in (*self._given, *self._arrived()):
            if message.reply and not message.is_acked:
                await message.nak()
        await self._subscription.unsubscribe()

    async def fetch(self, batch: int, timeout: float) -> list[Msg]:
        """What has come, at least one message; raises TimeoutError where nothing comes in time."""
        async with asyncio.timeout(timeout + MARGIN_SECONDS):
            while True:
                if self._left <= 0 or time.monotonic() > self._until:
                    await self._pull(batch, timeout)
                first = await self._messages.next_msg(timeout=timeout)
                came = (first, *self._arrived())
                if found := [one for one in came if self._counts(one)]:
                    self._given = [one for one in self._given if not one.is_acked] + found
                    return found
                if JetStreamContext.is_status_msg(came[-1]) not in (None, OVER):
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _pull(self, batch: int, seconds: float) -> None:
        wanted = json.dumps({"batch": batch, "expires": int(seconds * 1e9)}).encode()
        self._left, self._until = batch, time.monotonic() + seconds + MARGIN_SECONDS
        await self._subscription._nc.publish(self._subscription._nms, wanted, self._subscription._deliver)

    def _arrived(self) -> list[Msg]:
        queue, found = self._messages._pending_queue, []
        while not queue.empty():
            found.append(queue.get_nowait())
            self._messages._pending_size -= len(found[-1].data)
        return found

    def _counts(self, message: Msg) -> bool:
        """A status of the server is no message, but the end of a pull."""
        status = JetStreamContext.is_status_msg(message)
        self._left = 0 if status else self._left - 1
        return not status


class PullingJetStream(JetStreamContext):
    """What pulls messages are subscribed with."""

    def __init__(self, connection: Client, **options: Any) -> None:
        super().__init__(connection, **options)
        self._pulling: WeakSet[Pulling] = WeakSet()

    async def pull_subscribe_bind(self, *args: Any, **options: Any) -> Any:
        """What every way to subscribe comes to."""
        pulling = Pulling(await super().pull_subscribe_bind(*args, **options))
        self._pulling.add(pulling)
        return pulling

    def again(self) -> None:
        """The connection is another one: the pulls that waited are gone."""
        for pulling in self._pulling:
            pulling.again()
