"""How much each project keeps: said once an hour, and when it has changed, for monitor to meter and to limit."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from services.registry import store
from shared import observe
from shared.artifacts import Artifacts
from shared.context import Context
from shared.db import Database
from shared.errors import AimassError
from shared.events.storage import StorageHeld
from shared.outbox import Relay

Said = tuple[datetime, int]


class Holding:
    """Looks in a loop; several processes may, as the greatest of an hour counts once."""

    def __init__(self, database: Database, relay: Relay, artifacts: Artifacts, seconds: float) -> None:
        self._database, self._relay = database, relay
        self._artifacts, self._seconds = artifacts, seconds
        self._sizes: dict[str, int] = {}
        self._said: dict[str, Said] = {}

    async def run(self) -> None:
        while self._seconds:
            try:
                await self.look()
            except AimassError as error:
                observe.log().warning("storage is metered later", error=error.message)
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        now = datetime.now(UTC)
        async with self._database.connection() as connection:
            held = await store.held(connection)
        await self._learn({digest for digests in held.values() for digest in digests})
        for project in {*held, *self._said}:
            size = self.size(held.get(project, ()))
            if is_news(self._said.get(project), now, size):
                await self._say(project, now, size)

    def size(self, digests: Iterable[str]) -> int:
        """Of files that are kept; one that is gone counts nothing."""
        return sum(self._sizes.get(digest, 0) for digest in digests)

    async def _learn(self, digests: set[str]) -> None:
        """A file never changes, so that its size is asked for once."""
        self._sizes = {digest: size for digest, size in self._sizes.items() if digest in digests}
        for digest in digests - self._sizes.keys():
            if (kept := await self._artifacts.find(digest)) is not None:
                self._sizes[digest] = kept.size

    async def _say(self, project: str, now: datetime, size: int) -> None:
        async with self._relay.work(Context(project=project, actor="registry")) as work:
            work.say(StorageHeld(project=project, at=now, bytes_held=size))
        self._said[project] = (now, size)


def is_news(said: Said | None, now: datetime, size: int) -> bool:
    """Another size, or the first of an hour."""
    if said is None:
        return True
    at, before = said
    return before != size or (bool(size) and hour_of(at) != hour_of(now))


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
