"""Metering: how much each identity asks of each model, counted in memory and told to the bus every few seconds.

What is told is the sum of this run and day, so that telling it twice, late or out of order counts nothing twice.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple, TypeAlias

from services.gateway.credentials import CredentialCache, Principal
from shared import observe
from shared.bus import Bus
from shared.envelope import Envelope
from shared.errors import QuotaUsedUp
from shared.events.usage import UsageCount, UsageCounted
from shared.names import new_id

DAY_SECONDS = 86400
MOST_KEYS = 20_000
MOST_COUNTS = 1000
PUBLISH_SECONDS = 3.0
INFER, API = "infer", "api"
NOT_NAMED = (403, 404)
REFUSED = 429
EPOCH = date(1970, 1, 1)
# Day since 1970 in UTC, project, identity, model, kind: a plain tuple, as making another costs more than all the rest.
Key: TypeAlias = tuple[int, str, str, str, str]


class Told(NamedTuple):
    """What is to be told of a project, and the keys that it tells of."""

    project: str
    event: UsageCounted
    keys: list[Key]


class Counters:
    """The counters of a process; each day is a run. `add` is on the path of requests; the rest is beside it."""

    def __init__(self) -> None:
        self._runs: dict[int, str] = {}
        self._fresh: dict[Key, list[int]] = {}
        self._totals: dict[Key, list[int]] = {}
        self._untold: set[Key] = set()

    def add(self, key: Key, status: int, seconds: float, taken: int, given: int) -> None:
        row = self._fresh.get(key)
        if row is None or status in NOT_NAMED:
            if status < 400 and len(self._fresh) < MOST_KEYS:
                self._fresh[key] = [1, 0, int(seconds * 1e6), taken, given]
                return
            row = self._row(key, status)
        row[0] += 1
        if status >= 400:
            row[1] += 1
        else:
            row[2] += int(seconds * 1e6)
        row[3] += taken
        row[4] += given

    def _row(self, key: Key, status: int) -> list[int]:
        """Names that somebody makes up must not fill the memory."""
        if status in NOT_NAMED or len(self._fresh) >= MOST_KEYS:
            key = (*key[:3], "", key[4])
        return self._fresh.setdefault(key, [0, 0, 0, 0, 0])

    def untold(self) -> Iterator[Told]:
        """What has changed since it was told."""
        self._gather()
        by_subject: dict[tuple[str, int], list[Key]] = {}
        for key in self._untold:
            by_subject.setdefault((key[1], key[0]), []).append(key)
        for (project, day), keys in by_subject.items():
            for start in range(0, len(keys), MOST_COUNTS):
                yield self._told(project, day, keys[start : start + MOST_COUNTS])

    def _gather(self) -> None:
        fresh, self._fresh = self._fresh, {}
        for key, row in fresh.items():
            total = self._totals.get(key)
            self._totals[key] = row if total is None else [a + b for a, b in zip(total, row, strict=True)]
        self._untold.update(fresh)

    def _told(self, project: str, day: int, keys: list[Key]) -> Told:
        counts = tuple(_count(key, self._totals[key]) for key in keys)
        day_text = (EPOCH + timedelta(days=day)).isoformat()
        run = self._runs.setdefault(day, new_id())
        return Told(project, UsageCounted(run=run, service="gateway", day=day_text, counts=counts), keys)

    def is_told(self, told: Told) -> None:
        self._untold.difference_update(told.keys)

    def forget(self, today: int) -> None:
        """Days that are over and told; where the clock is set back to one, it is another run."""
        over = {day for day in self._runs if day < today} - {key[0] for key in self._untold}
        for day in over:
            del self._runs[day]
        if over:
            self._totals = {key: row for key, row in self._totals.items() if key[0] not in over}


class Meter:
    """Lets predictions in as far as quotas go, counts what was answered, and tells of it."""

    def __init__(self, bus: Bus, cache: CredentialCache, seconds: float, counters: Counters | None = None) -> None:
        self._bus, self._cache, self._seconds = bus, cache, seconds
        self._counters = counters or Counters()

    def admit(self, caller: Principal) -> None:
        """Raises QuotaUsedUp while the caller's project has used up what it may."""
        for used_up in self._cache.used_up(caller.project):
            left = seconds_until(used_up.renews_on, time.time())
            if left > 0:
                raise QuotaUsedUp(used_up.told(), retry_after=left)

    def count(
        self, caller: Principal, model: str, kind: str, status: int, seconds: float, taken: int, given: int
    ) -> None:
        """Count an answered request; one that a limit refused used nothing."""
        if status != REFUSED and caller.key_id:
            key = (int(time.time()) // DAY_SECONDS, caller.project, caller.key_id, model, kind)
            self._counters.add(key, status, seconds, taken, given)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.publish()

    async def publish(self) -> None:
        """Tell what has changed; what the bus does not take now is told the next time."""
        for told in self._counters.untold():
            if not await self._tell(told):
                return
            self._counters.is_told(told)
        self._counters.forget(int(time.time()) // DAY_SECONDS)

    async def _tell(self, told: Told) -> bool:
        source = f"gateway/{told.event.run}"
        envelope = Envelope(told.event.type_name(), source, told.event.aggregate, project=told.project)
        try:
            body, subject = told.event.model_dump_json().encode(), told.event.subject(told.project)
            await self._bus.js.publish(subject, body, headers=envelope.to_headers(), timeout=PUBLISH_SECONDS)
        except Exception as error:
            observe.log().warning("usage is told later", counts=len(told.keys), error=repr(error))
            return False
        return True


def seconds_until(day: date | None, now: float) -> int:
    """Until a day begins; an hour for one that never does."""
    return 3600 if day is None else math.ceil((day - EPOCH).days * DAY_SECONDS - now)


def _count(key: Key, row: list[int]) -> UsageCount:
    return UsageCount(
        identity=key[2],
        model=key[3],
        kind=key[4],
        requests=row[0],
        errors=row[1],
        compute_us=row[2],
        input_bytes=row[3],
        output_bytes=row[4],
    )
