"""A TCP proxy between a service and its server that can fall silent, be slow or cut every connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from deploy.embedded.ports import LOOPBACK

CHUNK = 65536


@dataclass
class Proxy:
    """`connected` counts the connections that were ever made."""

    target: int
    port: int = 0
    latency: float = 0.0
    connected: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _speaks: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def hush(self) -> None:
        """Pass nothing on any more, and close nothing: what is gone does not say so."""
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    def reset(self) -> None:
        """Cut every connection without a word."""
        for writer in self._open:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            there, away = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, away), (there, writer)):
            self._open.add(sink)
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # a side that has gone is what this is for
            while chunk := await source.read(CHUNK):
                await asyncio.sleep(self.latency)
                await self._speaks.wait()
                sink.write(chunk)
                await sink.drain()
        self._open.discard(sink)
        sink.close()

    async def end(self) -> None:
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy to this port of this machine."""
    proxy = Proxy(target)
    proxy.speak()
    server = await asyncio.start_server(proxy.accept, LOOPBACK, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
