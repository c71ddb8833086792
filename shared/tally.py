"""Metrics of the path of a prediction: counted by one thread without a lock or a lookup of labels, told when asked."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[Hashable, ...]


class Counts(Collector):
    """A counter of Prometheus by the values of its labels; its name ends in `_total`."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._about = (name, documentation)
        self._labels = labels
        self._values: dict[Labels, int] = defaultdict(int)
        registry.register(self)

    def add(self, labels: Labels, count: int = 1) -> None:
        self._values[labels] += count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for labels, value in list(self._values.items()):
            family.add_metric([str(label) for label in labels], value)
        yield family


class Timings(Collector):
    """A histogram of Prometheus, in seconds, by the values of its labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._about = (name, documentation)
        self._labels, self._bounds = labels, bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = defaultdict(float)
        registry.register(self)

    def observe(self, labels: Labels, seconds: float, count: int = 1) -> None:
        """So many times the same."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        counts[bisect_left(self._bounds, seconds)] += count
        self._sums[labels] += seconds * count

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, counts in list(self._counts.items()):
            buckets = list(zip(names, accumulate(counts), strict=True))
            family.add_metric([str(label) for label in labels], buckets, self._sums[labels])
        yield family
