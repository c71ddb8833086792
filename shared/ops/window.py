"""The Prometheus registry as an operator reads it: totals, rates and quantiles of the last minute.

Nothing is kept while nobody asks: the first answer is about the time since the process started.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from prometheus_client import REGISTRY, CollectorRegistry, Metric

LENGTH = 60.0
LEAST_AGE = 0.5
STARTED = "process_start_time_seconds"
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Snapshot:
    """All samples of the registry at one moment."""

    at: float
    families: list[Metric] = field(default_factory=list)

    @cached_property
    def samples(self) -> dict[str, dict[Labels, float]]:
        """Values by sample name and labels."""
        found: dict[str, dict[Labels, float]] = {}
        for family in self.families:
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    def all(self, name: str) -> Mapping[Labels, float]:
        return self.samples.get(name, {})

    def value(self, name: str) -> float:
        """One value, of the metric without labels or the sum over all of them."""
        return sum(self.all(name).values())


@dataclass(frozen=True)
class Change:
    """What the registry says now, and what it said when the window began."""

    before: Snapshot
    now: Snapshot

    @property
    def seconds(self) -> float:
        return max(self.now.at - self.before.at, 0.001)

    def of(self, name: str, labels: Labels) -> float:
        """How much a sample grew."""
        return self.now.all(name).get(labels, 0.0) - self.before.all(name).get(labels, 0.0)

    def total(self, name: str, **labels: str) -> float:
        """How much all samples with these labels grew together."""
        return sum(self.of(name, each) for each in self.now.all(name) if labels.items() <= dict(each).items())


class Window:
    """Remembers what the registry said at earlier questions of the last minute."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        self._past: deque[Snapshot] = deque()

    def change(self) -> Change:
        now = self._look()
        while self._past[0].at < now.at - LENGTH:
            self._past.popleft()
        oldest = self._past[0]
        begin = oldest if oldest is not now else Snapshot(now.value(STARTED) or now.at)
        return Change(begin, now)

    def _look(self) -> Snapshot:
        """What was seen just before is good enough, so that many who look cost no more than one."""
        now = self._clock()
        if not self._past or now - self._past[-1].at >= LEAST_AGE:
            self._past.append(Snapshot(now, list(self._registry.collect())))
        return self._past[-1]


def quantile(buckets: Iterable[tuple[float, float]], part: float) -> float | None:
    """The value below which this part lies; `buckets` are (upper bound, cumulative count). None without values.

    Inside a bucket values count as evenly spread; above the last bound, the last bound is said.
    """
    ordered = sorted(buckets)
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank, low, below = part * ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if count >= rank and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = (low if math.isinf(bound) else bound), count
    return low
