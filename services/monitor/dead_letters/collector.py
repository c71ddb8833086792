"""The collector: copies what the stream of dead letters holds into the database, where it can be asked for."""

import asyncio

from services.monitor.dead_letters import store
from services.monitor.dead_letters.domain import read_letter
from shared.db import Database
from shared.reading import StreamReader

LOOK_SECONDS = 1.0
BATCH = 100
ALL = "dlq.>"


class Collector:
    """Reads on after the last letter that is kept; several processes may do so at once."""

    def __init__(self, database: Database, reader: StreamReader) -> None:
        self._database, self._reader = database, reader
        self._read = 0

    async def run(self) -> None:
        while True:
            if not await self.collect():
                await asyncio.sleep(LOOK_SECONDS)

    async def collect(self) -> int:
        """How many were read, at most BATCH; a letter too many is one that is kept already."""
        async with self._database.connection() as connection:
            last = max(self._read, await store.last_position(connection))
        letters = [read_letter(stored) async for stored in self._reader.read(ALL, last + 1, BATCH)]
        if letters:
            async with self._database.transaction() as tx:
                for letter in letters:
                    await store.insert(tx, letter)
            self._read = letters[-1].position
        return len(letters)
