"""How much a version is asked: noted at each call to Triton, which may hold many requests, and read once a turn."""

import time
from collections.abc import Callable, Set

from services.inference.resources.domain import Demand


class _Version:
    """`busy` sums the seconds of calls under way since `since`."""

    __slots__ = ("busy", "since", "started", "under_way", "used", "waited")

    def __init__(self, now: float) -> None:
        self.used = self.since = self.started = now
        self.under_way, self.busy, self.waited = 0, 0.0, 0.0

    def advance(self, now: float) -> None:
        self.busy += self.under_way * (now - self.since)
        self.since = now


class Meter:
    """Times are those of the clock, which is the one that requests carry as `started`."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._versions: dict[str, _Version] = {}

    def on_begun(self, name: str, started: float) -> None:
        """A call begins; the request in it that came first came at `started`."""
        version, now = self._of(name), self.clock()
        version.advance(now)
        version.under_way += 1
        version.used = now
        version.waited = max(version.waited, now - started)

    def on_ended(self, name: str) -> None:
        version = self._of(name)
        version.advance(self.clock())
        version.under_way -= 1

    def read(self, name: str, capacity: int, oldest: float | None) -> Demand:
        """The demand since the last reading, by what could be under way at once and who waits longest now."""
        version, now = self._of(name), self.clock()
        version.advance(now)
        seconds = now - version.started
        waited = max(version.waited, 0.0 if oldest is None else now - oldest)
        busy = version.busy / (seconds * capacity) if seconds > 0 else 0.0
        version.started, version.busy, version.waited = now, 0.0, 0.0
        return Demand(waited, min(1.0, busy))

    def used(self, name: str) -> float:
        """When a call for the version began last; before the first one, when it was met here."""
        return self._of(name).used

    def touch(self, name: str) -> None:
        """Count it as used now."""
        self._of(name).used = self.clock()

    def keep(self, names: Set[str]) -> None:
        """Forget all others but those with a call under way."""
        self._versions = {name: found for name, found in self._versions.items() if name in names or found.under_way}

    def _of(self, name: str) -> _Version:
        if (found := self._versions.get(name)) is None:
            found = self._versions[name] = _Version(self.clock())
        return found
