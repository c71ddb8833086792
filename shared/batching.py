"""Batches: what waits at a durable goes together, so that it pays for one transaction.

Who comes alone waits for nobody; who comes within PACE_SECONDS of others goes with them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import nats.errors
from nats.aio.msg import Msg

from shared import observe
from shared.bus import PULL_SECONDS, Bus
from shared.pulling import Pulling
from shared.streams import MAX_ACK_PENDING

PAUSE_SECONDS = 1.0
PACE_SECONDS = 0.02
ENOUGH = MAX_ACK_PENDING // 2
ACK_SECONDS = 3.0
GIVE_UP_AFTER = 2
Item = TypeVar("Item")


class BatchSubscriber:
    """Pulls from a durable and hands over all that has come; starts and stops as FastStream's subscribers do.

    It is not one of those, since these take a message at a time through a task, a scope and a middleware each.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        durable: str,
        handle: Callable[[list[Msg]], Coroutine[Any, Any, None]],
        drain_seconds: float,
    ) -> None:
        self._bus, self._stream, self._durable = bus, stream, durable
        self._handle, self._drain_seconds = handle, drain_seconds
        self._pulling: Pulling | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it pulls."""
        if self._pulling is None:
            prefix = f"_INBOX_{self._bus.service}.".encode()
            self._pulling = await self._bus.stream.pull_subscribe_bind(self._durable, self._stream, inbox_prefix=prefix)
        self._fetching = asyncio.create_task(self._run(self._pulling))

    async def stop(self) -> None:
        """Finish what is in work, within the time that a drain has; what is left is given back."""
        if self._fetching:
            self._fetching.cancel()
        if self._work:
            await asyncio.wait([self._work], timeout=self._drain_seconds)
            self._work.cancel()
        pulling, self._pulling = self._pulling, None
        if pulling:
            with suppress(nats.errors.Error):  # a bus that is away has forgotten us already
                await pulling.unsubscribe()

    async def _run(self, pulling: Pulling) -> None:
        while True:
            try:
                messages = await pulling.fetch(MAX_ACK_PENDING, PULL_SECONDS)
                await self._take(messages)
                if len(messages) < ENOUGH:
                    await asyncio.sleep(PACE_SECONDS)
            except TimeoutError:
                continue
            except Exception as error:
                observe.log().warning("cannot pull now", stream=self._stream, error=repr(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _take(self, messages: list[Msg]) -> None:
        """A batch outlives the pulling, so that stopping does not cut it off."""
        self._work = asyncio.create_task(self._handle(messages))
        await asyncio.shield(self._work)


async def handle_all(
    batch: list[Item],
    handle: Callable[[list[Item]], Awaitable[None]],
    settle: Callable[[list[Item], Exception | None], Awaitable[None]],
    is_passing: Callable[[Exception], bool],
) -> None:
    """Together, or each alone where that fails, so that nobody takes others along.

    Where one after the other fails for a passing reason, the rest need not try: it is settled with that reason too.
    """
    if len(batch) > 1 and await _error_of(batch, handle) is None:
        await settle(batch, None)
        return
    passing = 0
    for position, item in enumerate(batch):
        error = await _error_of([item], handle)
        passing = passing + 1 if error and is_passing(error) else 0
        if passing == GIVE_UP_AFTER:
            await settle(batch[position:], error)
            return
        await settle([item], error)


async def _error_of(batch: list[Item], handle: Callable[[list[Item]], Awaitable[None]]) -> Exception | None:
    try:
        await handle(batch)
    except Exception as error:
        observe.log().debug("not handled", count=len(batch), error=repr(error))
        return error
    return None


async def acknowledge(messages: list[Msg]) -> None:
    """Return when the bus knows: it reads a connection in order, so that its answer to the last is one to all."""
    *others, last = messages
    for message in others:
        await message.ack()
    await last.ack_sync(timeout=ACK_SECONDS)
