"""Metering: how much each identity asks of each model, counted in memory and told to the bus every few seconds.

What is told is the sum of this run and day, so that telling it twice, late or out of order counts nothing twice.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TypeAlias

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
UNKNOWN = (403, 404)
REFUSED = 429
EPOCH = date(1970, 1, 1)


# Day since 1970 in UTC, project, identity, model, kind: a plain tuple, as making another costs more than all the rest.
Key: TypeAlias = tuple[int, str, str, str, str]


class Meter:
    """Adds up, on the path of requests; `publish` tells, beside it."""

    def __init__(self, bus: Bus, cache: CredentialCache, seconds: float) -> None:
        self._bus, self._cache, self._seconds = bus, cache, seconds
        self._run = new_id()
        self._fresh: dict[Key, list[int]] = {}
        self._totals: dict[Key, list[int]] = {}
        self._untold: set[Key] = set()

    def admit(self, caller: Principal) -> None:
        """Raises QuotaUsedUp while the caller's project has used up what it may."""
        for used_up in self._cache.used_up(caller.project):
            left = seconds_until(used_up.renews_on, time.time())
            if left > 0:
                raise QuotaUsedUp(used_up.told(), retry_after=left)

    def count(
        self, caller: Principal, model: str, kind: str, status: int, seconds: float, taken: int, given: int
    ) -> None:
        """Count an answered request; one that a limit refused used nothing, and unknown models have no name here."""
        if status == REFUSED or not caller.key_id:
            return
        key = (int(time.time()) // DAY_SECONDS, caller.project, caller.key_id, model, kind)
        row = self._fresh.get(key)
        if row is None or status in UNKNOWN:
            row = self._row(key, status)
        row[0] += 1
        if status >= 400:
            row[1] += 1
        row[2] += int(seconds * 1e6)
        row[3] += taken
        row[4] += given

    def _row(self, key: Key, status: int) -> list[int]:
        """Names that somebody makes up must not fill the memory."""
        if status in UNKNOWN or len(self._fresh) >= MOST_KEYS:
            key = (*key[:3], "", key[4])
        return self._fresh.setdefault(key, [0, 0, 0, 0, 0])

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.publish()

    async def publish(self) -> None:
        """Tell what has changed; what the bus does not take now is told the next time."""
        self._gather()
        for project, day, keys in self._parts():
            if not await self._tell(project, day, keys):
                return
            self._untold.difference_update(keys)
        self._forget()

    def _gather(self) -> None:
        fresh, self._fresh = self._fresh, {}
        for key, row in fresh.items():
            total = self._totals.get(key)
            self._totals[key] = row if total is None else [a + b for a, b in zip(total, row, strict=True)]
        self._untold.update(fresh)

    def _parts(self) -> Iterator[tuple[str, int, list[Key]]]:
        by_subject: dict[tuple[str, int], list[Key]] = {}
        for key in self._untold:
            by_subject.setdefault((key[1], key[0]), []).append(key)
        for (project, day), keys in by_subject.items():
            for start in range(0, len(keys), MOST_COUNTS):
                yield project, day, keys[start : start + MOST_COUNTS]

    async def _tell(self, project: str, day: int, keys: list[Key]) -> bool:
        counts = tuple(_count(key, self._totals[key]) for key in keys)
        day_text = (EPOCH + timedelta(days=day)).isoformat()
        event = UsageCounted(run=self._run, service="gateway", day=day_text, counts=counts)
        envelope = Envelope(event.type_name(), f"gateway/{self._run}", event.aggregate, project=project)
        try:
            body = event.model_dump_json().encode()
            headers = envelope.to_headers()
            await self._bus.js.publish(event.subject(project), body, headers=headers, timeout=PUBLISH_SECONDS)
        except Exception as error:
            observe.log().warning("usage is told later", counts=len(keys), error=repr(error))
            return False
        return True

    def _forget(self) -> None:
        """A day more than is over, in case the clock is set back."""
        oldest = int(time.time()) // DAY_SECONDS - 1
        for key in [key for key in self._totals if key[0] < oldest]:
            del self._totals[key]


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
