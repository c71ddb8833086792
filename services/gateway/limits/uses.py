"""When keys were used and how often, told to auth once a minute for all of them; one dictionary on the way in."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from shared import observe
from shared.bus import Bus
from shared.context import Context
from shared.errors import AimassError, Unavailable
from shared.rpc.auth_keys import KeyUse, NoteKeyUses

MOST_AT_ONCE = 5_000
LOOK_SECONDS = 1.0
Learn = Callable[[str, int], None]


class Uses:
    """Counts what was let in since auth was told; who has a daily quota is told of at once when he comes anew."""

    def __init__(self, bus: Bus, seconds: float) -> None:
        self._bus, self._seconds = bus, seconds
        self.counts: dict[str, int] = {}
        self._wanted: set[str] = set()
        self.learn: Learn = lambda _, __: None

    def want(self, key_id: str) -> None:
        """Ask soon what the key used today."""
        self._wanted.add(key_id)

    async def run(self) -> None:
        told = time.monotonic()
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._seconds))
            if self._wanted:
                await self._tell(self._wanted)
            if time.monotonic() - told >= self._seconds:
                told = time.monotonic()
                await self._tell(set(self.counts))

    async def close(self) -> None:
        await self._tell(set(self.counts))

    async def _tell(self, names: set[str]) -> None:
        waiting = sorted(names)
        for start in range(0, len(waiting), MOST_AT_ONCE):
            await self._tell_some(waiting[start : start + MOST_AT_ONCE])

    async def _tell_some(self, names: list[str]) -> None:
        """What nobody took is told the next time; what may have been taken is not told twice."""
        now = datetime.now(UTC)
        counts = {name: self.counts.pop(name, 0) for name in names}
        self._wanted.difference_update(names)
        uses = [KeyUse(key_id=name, requests=n, last_used_at=now if n else None) for name, n in counts.items()]
        try:
            days = await self._bus.ask(NoteKeyUses(day=now.date(), uses=uses), Context(actor="gateway"))
        except Unavailable as error:
            observe.log().debug("uses of keys not told", error=error.message)
            self._again(counts)
        except AimassError as error:
            observe.log().warning("uses of keys not told", error=error.message)
        else:
            for key_id, used in days.requests.items():
                self.learn(key_id, used)

    def _again(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            if count:
                self.counts[name] = self.counts.get(name, 0) + count
            else:
                self._wanted.add(name)
