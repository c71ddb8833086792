"""A short load on one model through the gateway, without a load generator: latency of one caller, then of a few."""

import asyncio
import statistics
import time
from dataclasses import dataclass

import aiohttp

PATIENCE = 1.0


class NotAnswered(Exception):
    """A request of the load was not answered with 200."""


@dataclass(frozen=True)
class Speed:
    """Half of the calls of a single caller took less than p50_ms; a few callers got so many answers a second."""

    p50_ms: float
    requests_per_second: float


@dataclass(frozen=True)
class ShortLoad:
    """The same POST again and again; first by one caller for `seconds` at most, then by `callers` for `seconds`, or by
    fewer where an answer takes long: more would be refused, as they would wait for more than a second.
    """

    url: str
    body: bytes
    headers: dict[str, str]
    callers: int = 8
    calls: int = 100
    warm_up: int = 5
    seconds: float = 3.0

    def run(self) -> Speed:
        """Raises NotAnswered with what was answered instead."""
        return asyncio.run(self.measure())

    async def measure(self) -> Speed:
        connector = aiohttp.TCPConnector(limit=self.callers)
        async with aiohttp.ClientSession(connector=connector, headers=self.headers) as session:
            for _ in range(self.warm_up):
                await self._call(session)
            alone = await self._alone(session)
            typical = statistics.median(alone)
            callers = max(1, min(self.callers, int(PATIENCE / typical)))
            return Speed(typical * 1000, await self._together(session, callers))

    async def _alone(self, session: aiohttp.ClientSession) -> list[float]:
        taken: list[float] = []
        end = time.monotonic() + self.seconds
        while not taken or (len(taken) < self.calls and time.monotonic() < end):
            taken.append(await self._call(session))
        return taken

    async def _together(self, session: aiohttp.ClientSession, callers: int) -> float:
        began = time.monotonic()
        end, answered = began + self.seconds, 0

        async def go_on() -> None:
            nonlocal answered
            while time.monotonic() < end:
                await self._call(session)
                answered += 1

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(callers):
                    group.create_task(go_on())
        except* NotAnswered as failed:
            raise failed.exceptions[0] from None
        return answered / (time.monotonic() - began)

    async def _call(self, session: aiohttp.ClientSession) -> float:
        began = time.perf_counter()
        try:
            async with session.post(self.url, data=self.body) as reply:
                answer = await reply.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotAnswered(f"{self.url} did not answer: {error!r}") from error
        if reply.status != 200:
            raise NotAnswered(f"{self.url} answered {reply.status}: {answer[:200].decode(errors='replace')}")
        return time.perf_counter() - began
