"""Metrics of the path of a prediction tell what prometheus_client's own would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from shared.tally import Counts, Timings

BOUNDS = (0.001, 0.5, 1, 2.5)
LABELS = st.tuples(st.sampled_from(["a", 'b"\\']), st.sampled_from([200, 503]))
SECONDS = st.one_of(st.sampled_from(BOUNDS), st.integers(0, 40).map(lambda eighths: eighths / 8))


def told(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode().splitlines()
    return sorted(line for line in text if "_created" not in line)


@given(st.lists(st.tuples(LABELS, SECONDS)))
def test_timings_are_a_histogram(observed: list[tuple[tuple[str, int], float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    timings = Timings("seconds", "Time", ["model", "status"], BOUNDS, ours)
    histogram = Histogram("seconds", "Time", ["model", "status"], buckets=BOUNDS, registry=theirs)
    for labels, seconds in observed:
        timings.observe(labels, seconds)
        histogram.labels(*labels).observe(seconds)
    assert told(ours) == told(theirs)


@given(st.lists(LABELS))
def test_counts_are_a_counter(counted: list[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("answers_total", "Answers", ["model", "status"], ours)
    counter = Counter("answers_total", "Answers", ["model", "status"], registry=theirs)
    for labels in counted:
        counts.add(labels)
        counter.labels(*labels).inc()
    assert told(ours) == told(theirs)
