"""Forgets answers that were kept long enough, and drops bodies that belong to no request."""

import asyncio
from typing import Final

from services.inference.deferred import store
from services.inference.deferred.domain import id_of, is_needed
from services.inference.settings import Settings
from shared import observe
from shared.body_store import BodyStore
from shared.db import Database
from shared.errors import AimassError

TURN_SECONDS: Final = 10.0
FORGOTTEN_AT_ONCE: Final = 1000
STRAY_TURNS: Final = 60
STRAY_SECONDS: Final = 3600.0


class Cleaning:
    """One loop of a node; several nodes that clean do not hinder each other."""

    def __init__(self, settings: Settings, database: Database, bodies: BodyStore) -> None:
        self._database, self._bodies = database, bodies
        self._keep_seconds = settings.deferred_answer_hours * 3600

    async def run(self) -> None:
        """Clean for ever; what is down now is tried again at the next turn."""
        turn = 0
        while True:
            try:
                await self.forget()
                if turn % STRAY_TURNS == 0:
                    await self.drop_strays(STRAY_SECONDS)
                turn += 1
            except AimassError as error:
                observe.log().warning("old answers stay for now", error=error.message)
            await asyncio.sleep(min(TURN_SECONDS, self._keep_seconds))

    async def forget(self) -> None:
        """Forget requests whose answers were kept long enough, with these answers."""
        while await self._forget_some() == FORGOTTEN_AT_ONCE:
            pass

    async def _forget_some(self) -> int:
        async with self._database.transaction() as tx:
            forgotten = await store.forget(tx, self._keep_seconds, FORGOTTEN_AT_ONCE)
        for inference in forgotten:
            await self._bodies.drop(inference.answer_name)
        return len(forgotten)

    async def drop_strays(self, seconds: float) -> None:
        """Drop what has lain for longer than this and belongs to no request: those who kept it died at once."""
        async for names in self._bodies.older(seconds):
            ids = {name: found for name in names if (found := id_of(name))}
            async with self._database.connection() as connection:
                requests = await store.find_all(connection, sorted(set(ids.values())))
            for name, inference_id in ids.items():
                if not is_needed(name, requests.get(inference_id)):
                    await self._bodies.drop(name)
