"""The Prometheus registry as an operator reads it: totals, rates and quantiles of the last minute.

Nothing is kept while nobody asks: the first answer is about the time since the process started.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import REGISTRY, CollectorRegistry, Metric

LENGTH = 60.0
SPACING = 10.0
LEAST_AGE = 0.5
STARTED = "process_start_time_seconds"
Labels = tuple[tuple[str, str], ...]


Samples = dict[str, dict[Labels, float]]


@dataclass(frozen=True)
class Snapshot:
    """The values of the registry at one moment, by sample name and labels; an old one has no families."""

    at: float
    samples: Samples = field(default_factory=dict)
    families: tuple[Metric, ...] = ()

    @classmethod
    def take(cls, at: float, registry: CollectorRegistry) -> "Snapshot":
        families, samples = tuple(registry.collect()), Samples()
        for sample in (each for family in families for each in family.samples):
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return cls(at, samples, families)

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
    """Remembers a few of the values that were seen in the last minute."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        self._seen: Snapshot | None = None
        self._marks: deque[Snapshot] = deque()

    def change(self) -> Change:
        now = self._look()
        while self._marks and self._marks[0].at < now.at - LENGTH:
            self._marks.popleft()
        begin = next((mark for mark in self._marks if mark.at < now.at), Snapshot(now.value(STARTED) or now.at))
        if not self._marks or now.at - self._marks[-1].at >= SPACING:
            self._marks.append(Snapshot(now.at, now.samples))
        return Change(begin, now)

    def _look(self) -> Snapshot:
        """What was seen just before is good enough, so that many who look cost no more than one."""
        now = self._clock()
        if self._seen is None or now - self._seen.at >= LEAST_AGE:
            self._seen = Snapshot.take(now, self._registry)
        return self._seen


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
