"""The rebuilding: reads the log from its beginning into tables beside those in use, and then puts them in their place.

It goes on while monitor does: what monitor hears meanwhile is read too, and the last of it under a short lock. Each
batch commits with its position, so that one that is interrupted goes on where it stood.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from services.monitor.handlers import HANDLERS
from services.monitor.replaying import store
from services.monitor.replaying.domain import REBUILT, Difference, Verdict, read_row
from services.monitor.replaying.store import Span
from services.monitor.settings import Settings
from shared.db import Connection, Database
from shared.errors import Conflict, Unavailable
from shared.events.bus import AuditAdvanced
from shared.reading import StreamReader
from shared.streams import SUBJECT_EVENTS

ALL = "evt.>"
BATCH = 500
TAIL = 1000
SWAP_ATTEMPTS = 10
TOLD = (event for event in HANDLERS.events if event.stream == "EVT" and event is not AuditAdvanced)
HEARD = {event.type_name(): event for event in TOLD}
Report = Callable[[str], None]


class Edge(NamedTuple):
    """The oldest that the log holds; of subjects that are full, later than the rest."""

    first: int
    at: datetime
    full: list[tuple[str, str, int]]


class Replay:
    """One generation of projections; `report` gets a line whenever there is something to tell."""

    def __init__(self, database: Database, reader: StreamReader, settings: Settings, report: Report) -> None:
        self._database, self._reader, self._report = database, reader, report
        self._days = timedelta(days=settings.timeline_days)

    async def run(self, anew: bool = False) -> list[Verdict]:
        """The projections before and after; raises Conflict while another process rebuilds them."""
        async with self._database.connection() as guard:
            if not await store.take_lock(guard):
                raise Conflict("another process rebuilds the projections now")
            try:
                return await self._rebuild(anew)
            finally:
                await store.release_lock(guard)

    async def _rebuild(self, anew: bool) -> list[Verdict]:
        async with self._database.transaction() as tx:
            generation, position = await store.begun(tx, anew)
        since = datetime.now(UTC) - self._days
        self._report(f"generation {generation}, from position {position + 1:,} of the log")
        position = await self._read(generation, position)
        await self._complete()
        return await self._replace(generation, position, since)

    async def _read(self, generation: int, position: int) -> int:
        """Read on until little is left; returns the position of the last one read."""
        while (last := (await self._reader.info()).state.last_seq) - position > TAIL:
            while position < last:
                position = await self._batch(generation, position, last)
                self._report(f"read to {position:,} of {last:,}")
        return position

    async def _batch(self, generation: int, position: int, last: int) -> int:
        stored = await self._reader.batch(ALL, position + 1, BATCH)
        position = stored[-1].sequence if stored else last
        async with self._database.transaction() as tx:
            await store.add_events(tx, [row for one in stored if (row := read_row(one, HEARD)) is not None])
            await store.beat(tx, generation, position)
        return position

    async def _complete(self) -> None:
        """Take over what the log has no more, and put the tasks together."""
        edge = await self._edge()
        async with self._database.transaction() as tx:
            await store.patiently(tx)
            taken = await store.take_over(tx, edge.first, edge.at, edge.full)
            await store.begin_tasks(tx)
            await store.fold_tasks(tx, 0)
        self._report(f"{taken:,} events from before the edge of the log, which is position {edge.first:,}")

    async def _edge(self) -> Edge:
        info = await self._reader.info(ALL)
        subjects = info.state.subjects or {}
        full = [await self._first_of(subject) for subject, count in subjects.items() if count >= SUBJECT_EVENTS]
        oldest = await self._reader.next(ALL, sequence=1)
        first = info.state.first_seq if oldest is None else oldest.sequence
        return Edge(first, oldest.at if oldest else datetime.now(UTC), [each for each in full if each[1]])

    async def _first_of(self, subject: str) -> tuple[str, str, int]:
        oldest = await self._reader.next(subject, sequence=1)
        project = subject.split(".")[1]
        names = [name for name, event in HEARD.items() if event.subject(project) == subject]
        return project, names[0] if names else "", oldest.sequence if oldest else 0

    async def _replace(self, generation: int, position: int, since: datetime) -> list[Verdict]:
        """Compare all but the last events at leisure; the rest of it while nobody writes."""
        most = await self._compared(Span(since, -1, position))
        for attempt in range(SWAP_ATTEMPTS):
            try:
                async with self._database.transaction() as tx:
                    await store.patiently(tx)
                    await store.lock_projections(tx)
                    return await self._swap(tx, generation, most, Span(since, position, await store.last_position(tx)))
            except Unavailable as error:
                self._report(f"the projections are in use, attempt {attempt + 1}: {error.message}")
        raise Unavailable("the projections could not be put in place; run it again and it goes on")

    async def _compared(self, span: Span) -> Verdict:
        async with self._database.transaction() as tx:
            await store.patiently(tx)
            return await _verdict(tx, "timeline", span)

    async def _swap(self, tx: Connection, generation: int, most: Verdict, rest: Span) -> list[Verdict]:
        position = rest.after
        while position < rest.until:
            stored = [one for one in await self._reader.batch(ALL, position + 1, BATCH) if one.sequence <= rest.until]
            await store.add_events(tx, [row for one in stored if (row := read_row(one, HEARD)) is not None])
            position = stored[-1].sequence if len(stored) == BATCH else rest.until
        await store.fold_tasks(tx, rest.after + 1)
        tail, tasks = await _verdict(tx, "timeline", rest), await _verdict(tx, "task_list")
        for table in REBUILT:
            await store.swap(tx, table)
        await store.end(tx, generation)
        whole = Verdict(
            "timeline", most.before + tail.before, most.after + tail.after, most.difference + tail.difference
        )
        return [whole, tasks]


async def _verdict(tx: Connection, table: str, span: Span | None = None) -> Verdict:
    before, after = await store.state(tx, table, span), await store.state(tx, f"{table}{store.NEXT}", span)
    difference = Difference() if before == after else await store.difference(tx, table, span)
    return Verdict(table, before, after, difference)
