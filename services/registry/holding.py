"""How much each project keeps: said once an hour, and when it has changed, for monitor to meter and to limit."""

import asyncio
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
Seen = tuple[int, datetime]


class Holding:
    """Looks in a loop; several processes may, as the greatest of an hour counts once.

    The rows of a project are read when its mark has changed, and once an hour in any case.
    """

    def __init__(self, database: Database, relay: Relay, artifacts: Artifacts, seconds: float) -> None:
        self._database, self._relay = database, relay
        self._artifacts, self._seconds = artifacts, seconds
        self._sizes: dict[str, dict[str, int]] = {}
        self._seen: dict[str, Seen] = {}
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
            marks = await store.storage_marks(connection)
        for project, changes in marks.items():
            if self._seen.get(project) != (seen := (changes, hour_of(now))):
                await self._read(project)
                self._seen[project] = seen
            size = sum(self._sizes[project].values())
            if is_news(self._said.get(project), now, size):
                await self._say(project, now, size)

    async def _read(self, project: str) -> None:
        """A file never changes, so that its size is asked for once; one that is gone counts nothing."""
        async with self._database.connection() as connection:
            digests = await store.held(connection, project)
        known = self._sizes.get(project, {})
        sizes = {digest: known[digest] for digest in digests & known.keys()}
        for digest in digests - known.keys():
            if (kept := await self._artifacts.find(digest)) is not None:
                sizes[digest] = kept.size
        self._sizes[project] = sizes

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
