"""Cleaning: garbage is collected by itself, every so many hours, without anybody asking for it."""

import asyncio

from services.registry.garbage import collect_garbage
from services.registry.parts import Parts, Work
from services.registry.settings import Settings
from shared import observe
from shared.context import Context
from shared.db import Database
from shared.errors import AimassError
from shared.rpc.registry import CollectGarbage, Garbage

FIRST_SECONDS = 600.0
RETRY_SECONDS = 600.0


class Cleaning:
    """Collects in a loop, first soon after the start, so that restarts do not put it off for ever."""

    def __init__(self, database: Database, parts: Parts, settings: Settings) -> None:
        self._database, self._parts = database, parts
        self._seconds = settings.collect_hours * 3600
        self._order = CollectGarbage(dry_run=False, grace_seconds=settings.collect_grace_hours * 3600)

    async def run(self) -> None:
        """Return at once where the schedule is off."""
        wait = min(FIRST_SECONDS, self._seconds)
        while self._seconds:
            await asyncio.sleep(wait)
            wait = self._seconds if await self._is_clean() else min(RETRY_SECONDS, self._seconds)

    async def _is_clean(self) -> bool:
        """Whether nothing is left to collect now; a service that does not answer puts it off."""
        try:
            found = await self.collect()
        except AimassError as error:
            observe.log().warning("garbage waits", error=error.message)
            return False
        observe.log().info("collected", **found.model_dump(exclude={"dry_run"}))
        return not found.more

    async def collect(self) -> Garbage:
        async with self._database.transaction() as tx:
            return await collect_garbage(self._order, Work(tx, Context(actor="registry"), self._parts))
