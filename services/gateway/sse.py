"""Server-sent events: streams that last, end when the gateway drains, and are limited in number."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, TypeAlias

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from services.gateway import metrics
from shared import observe
from shared.errors import Unavailable

KEEP_ALIVE_SECONDS = 10.0
SLOW_SECONDS = 30.0
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
TEXT = {"type": "string"}
EVENT = {"type": "object", "required": ["data"], "properties": {"id": TEXT, "event": TEXT, "data": TEXT}}
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {"schema": EVENT}}}}


class ServerEvent(NamedTuple):
    """One event: `id` lets a client go on where it was cut off."""

    data: dict[str, Any]
    id: int | None = None
    event: str | None = None

    def encode(self) -> bytes:
        lines = [f"data: {json.dumps(self.data, separators=(',', ':'))}"]
        if self.event is not None:
            lines.insert(0, f"event: {self.event}")
        if self.id is not None:
            lines.insert(0, f"id: {self.id}")
        return ("\n".join(lines) + "\n\n").encode()


EventFlow: TypeAlias = AsyncGenerator[ServerEvent | None, None]


class Stalled(OSError):
    """A reader took nothing for SLOW_SECONDS; it comes back and goes on from the last id that it saw."""


async def in_time(sending: Awaitable[None]) -> None:
    """Send, or give the reader up: one that does not read would hold its place among the followers for ever.

    Nothing is read ahead for it: what it has not taken stays in the stream. Raises Stalled.
    """
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            await sending
    except TimeoutError:
        observe.log().info("a follower was cut off, which took nothing", seconds=SLOW_SECONDS)
        raise Stalled from None


class BoundedStream(StreamingResponse):
    """A response that ends when its reader takes nothing any more."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, media_type=MEDIA_TYPE, headers=HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def timed(message: Message) -> None:
            await in_time(send(message))

        async with aclosing(self._events):
            with suppress(Stalled):  # an answer that is not finished closes its connection
                await super().__call__(scope, receive, timed)


class Followers:
    """The open streams of this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all streams; clients come back and go on from their last id."""
        self._stopping.set()

    def response(self, events: EventFlow) -> BoundedStream:
        """A stream of events; None is a moment without news.

        Raises Unavailable when too many streams are open.
        """
        return BoundedStream(self._stream(self.limited(events)))

    def limited(self, events: EventFlow) -> EventFlow:
        """The same events, counted among the open streams, until the gateway drains.

        Raises Unavailable when too many streams are open.
        """
        if self._open >= self._limit:
            raise Unavailable("too many event streams are open here; try again", retry_after=5)
        return self._counted(events)

    async def _counted(self, events: EventFlow) -> EventFlow:
        self._count(1)
        try:
            async with aclosing(events):
                async for event in events:
                    if self._stopping.is_set():
                        return
                    yield event
        finally:
            self._count(-1)

    async def _stream(self, events: EventFlow) -> AsyncGenerator[bytes, None]:
        sent = time.monotonic()
        yield b": open\n\n"
        async with aclosing(events):
            async for event in events:
                if event is not None or time.monotonic() - sent > KEEP_ALIVE_SECONDS:
                    sent = time.monotonic()
                    yield event.encode() if event else b": alive\n\n"

    def _count(self, change: int) -> None:
        self._open += change
        metrics.FOLLOWERS.set(self._open)
