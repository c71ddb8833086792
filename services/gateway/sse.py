"""Server-sent events: streams that last, end when the gateway drains, and are limited in number."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple, TypeAlias

from starlette.responses import StreamingResponse

from services.gateway import metrics
from shared.errors import Unavailable

KEEP_ALIVE_SECONDS = 10.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


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


class Followers:
    """The open streams of this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all streams; clients come back and go on from their last id."""
        self._stopping.set()

    def response(self, events: EventFlow) -> StreamingResponse:
        """A stream of events; None is a moment without news.

        Raises Unavailable when too many streams are open.
        """
        return StreamingResponse(self._stream(self.limited(events)), media_type="text/event-stream", headers=HEADERS)

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
