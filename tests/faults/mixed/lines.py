"""Proxies between services and their servers, in a thread of their own, so that a line can be cut or slowed."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.integration.proxy import Proxy, proxied


class Lines:
    """A proxy for each name, to the port that is given for it; all end with `close`."""

    def __init__(self, targets: dict[str, int]) -> None:
        self.proxies: dict[str, Proxy] = {}
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(targets),), daemon=True)
        self._thread.start()
        self._ready.wait(30)

    async def _run(self, targets: dict[str, int]) -> None:
        async with AsyncExitStack() as stack:
            for name, port in targets.items():
                self.proxies[name] = await stack.enter_async_context(proxied(port))
            self._ready.set()
            await self._ended.wait()

    def tell(self, name: str, change: Callable[[Proxy], None]) -> None:
        self._loop.call_soon_threadsafe(change, self.proxies[name])

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        self._loop.close()
