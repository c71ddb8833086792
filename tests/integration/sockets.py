"""A client's side of WebSockets of the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import Event, RejectConnection, RejectData, Request, TextMessage

from tests.integration.gateway_neighbours import Gateway

PATIENCE_SECONDS = 60


class Socket:
    """A client's side of a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    def send(self, event: Event) -> None:
        self._writer.write(self._protocol.send(event))

    async def event(self) -> Event:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._events:
                self._protocol.receive_data(await self._reader.read(65536) or None)
                self._events += self._protocol.events()
        return self._events.pop(0)

    async def said(self) -> dict[str, Any]:
        event = await self.event()
        assert isinstance(event, TextMessage), event
        found: dict[str, Any] = json.loads(event.data)
        return found

    async def refused(self) -> tuple[int, dict[str, Any]]:
        """The status and the problem of a request that was not let in."""
        event, body = await self.event(), b""
        assert isinstance(event, RejectConnection), event
        while not isinstance(part := await self.event(), RejectData) or not part.body_finished:
            body += bytes(part.data) if isinstance(part, RejectData) else b""
        return event.status_code, json.loads(body + bytes(part.data))


@asynccontextmanager
async def socket(gateway: Gateway | str, path: str, key: str = "", **given: Any) -> AsyncIterator[Socket]:
    """Ask to be let in at a gateway or its URL; what it answers is the first event."""
    address = urlsplit(gateway if isinstance(gateway, str) else gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    opened = Socket(reader, writer)
    headers = [(b"Authorization", f"Bearer {key}".encode())] if key else []
    opened.send(Request(host=address.netloc, target=path, extra_headers=headers, **given))
    try:
        yield opened
    finally:
        writer.close()
