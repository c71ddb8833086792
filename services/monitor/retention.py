"""The end of what monitor keeps: old predictions, events and dead letters go, a bounded number at a time."""

import asyncio

from services.monitor import store
from services.monitor.settings import Settings
from shared.db import Database


class Retention:
    """Deletes in a loop; several processes may do so at once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        while True:
            await self.prune()
            await asyncio.sleep(self._settings.prune_seconds)

    async def prune(self) -> None:
        await self._empty(store.PRUNE_PREDICTIONS, self._settings.prediction_days)
        await self._empty_timeline(self._settings.timeline_days)
        await self._empty(store.PRUNE_LETTERS, self._settings.dead_letter_days)

    async def _empty_timeline(self, days: float) -> None:
        gone = store.PRUNE_ROWS
        while gone == store.PRUNE_ROWS:
            async with self._database.transaction() as tx:
                gone = await store.prune_timeline(tx, days)

    async def _empty(self, query: str, days: float) -> None:
        gone = store.PRUNE_ROWS
        while gone == store.PRUNE_ROWS:
            async with self._database.transaction() as tx:
                gone = await store.prune(tx, query, days)
