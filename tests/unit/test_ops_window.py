"""The operators' view of the metrics: rates of the last minute, quantiles, and what is remembered of the log."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.ops import recent
from shared.ops.readiness import Readiness
from shared.ops.recent import MOST, RECENT, remember
from shared.ops.status import Status, describe
from shared.ops.window import LENGTH, STARTED, Window, quantile


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge(STARTED, "when the process started", registry=made).set(900)
    return made


def status(window: Window) -> Status:
    return describe(Readiness("trainer"), 6, 0, window.change())


def test_the_first_look_is_about_all_the_time(clock: Clock, registry: CollectorRegistry) -> None:
    Counter("aimass_messages_published_total", "m", ["service"], registry=registry).labels("trainer").inc(50)
    found = status(Window(registry, clock))
    assert (found.window_seconds, found.messages.published.per_second) == (100, 0.5)


def test_rates_are_of_the_last_minute(clock: Clock, registry: CollectorRegistry) -> None:
    counter = Counter("aimass_messages_published_total", "m", ["service"], registry=registry).labels("trainer")
    window = Window(registry, clock)
    counter.inc(1000)
    status(window)
    for _ in range(100):
        clock.now += 1
        counter.inc(2)
        found = status(window)
    assert found.messages.published.per_second == pytest.approx(2)
    assert found.messages.published.total == 1200
    assert found.window_seconds <= LENGTH


def test_many_who_look_at_once_cost_no_more_than_one(clock: Clock, registry: CollectorRegistry) -> None:
    window = Window(registry, clock)
    first = window.change()
    assert window.change().now is first.now
    clock.now += 1
    assert window.change().now is not first.now


def test_little_is_kept_however_often_somebody_looks(clock: Clock, registry: CollectorRegistry) -> None:
    window = Window(registry, clock)
    for _ in range(500):
        clock.now += 0.6
        change = window.change()
    assert LENGTH - 11 <= change.seconds <= LENGTH
    assert len(window._marks) <= 7


def test_after_a_pause_old_looks_do_not_count(clock: Clock, registry: CollectorRegistry) -> None:
    window = Window(registry, clock)
    window.change()
    clock.now += 10 * LENGTH
    assert window.change().seconds == clock.now - 900


def test_failures_are_ours_and_not_the_callers(clock: Clock, registry: CollectorRegistry) -> None:
    seconds = Histogram("aimass_rpc_seconds", "calls", ["service", "verb", "outcome"], registry=registry)
    for outcome, times in {"ok": 5, "not_found": 3, "internal": 1, "unavailable": 1, "unheard_of": 1}.items():
        for _ in range(times):
            seconds.labels("trainer", "get_task", outcome).observe(0.02)
    [group] = status(Window(registry, clock)).timings
    assert [row.name for row in group.rows] == ["get_task"]
    assert group.all.total == 11
    assert group.all.errors_per_second == pytest.approx(3 / 100)
    assert 10 <= (group.all.p50_ms or 0) <= 25


def test_quantiles_of_a_still_time_are_those_of_all_the_time(clock: Clock, registry: CollectorRegistry) -> None:
    seconds = Histogram("aimass_http_seconds", "http", ["route", "status"], registry=registry)
    seconds.labels("/models", "500").observe(0.3)
    window = Window(registry, clock)
    status(window)
    clock.now += 5
    [group] = status(window).timings
    assert (group.all.per_second, group.all.errors_per_second) == (0, 0)
    assert 250 <= (group.all.p99_ms or 0) <= 500


def test_other_figures_are_shown_as_they_are(clock: Clock, registry: CollectorRegistry) -> None:
    Gauge("aimass_followers", "streams that are open", registry=registry).set(3)
    Counter("aimass_lost_total", "lost", ["service", "kind"], registry=registry).labels("trainer", "x").inc(10)
    gauge, counter = status(Window(registry, clock)).figures
    assert (gauge.title, gauge.value, gauge.per_second) == ("streams that are open", 3, None)
    assert (counter.value, counter.per_second, counter.labels) == (10, 0.1, {"kind": "x"})


@given(st.lists(st.floats(0, 20), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_its_value(values: list[float], part: float) -> None:
    bounds = [0.01, 0.1, 1.0, 10.0, math.inf]
    buckets = [(bound, float(sum(value <= bound for value in values))) for bound in bounds]
    exact = sorted(values)[math.ceil(part * len(values)) - 1]
    upper = next(bound for bound in bounds if exact <= bound)
    lower = max([0.0, *(bound for bound in bounds if bound < upper)])
    found = quantile(buckets, part)
    assert found is not None
    assert lower - 1e-9 <= found <= (lower if math.isinf(upper) else upper) + 1e-9


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([(1.0, 0.0), (math.inf, 0.0)], 0.5) is None


@pytest.fixture
def empty_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "RECENT", type(RECENT)(maxlen=MOST))


@pytest.mark.usefixtures("empty_log")
def test_the_log_is_remembered_within_bounds() -> None:
    for number in range(3 * MOST):
        remember(
            None, "", {"level": "error", "event": f"e{number}", "exception": "Traceback\nValueError: " + "x" * 9999}
        )
        remember(None, "", {"level": "info", "event": "not kept"})
    assert len(recent.RECENT) == MOST
    assert recent.RECENT[-1].event == f"e{3 * MOST - 1}"
    assert recent.RECENT[-1].detail.startswith("ValueError: x")
    assert len(recent.RECENT[-1].detail) <= recent.LONGEST


@pytest.mark.usefixtures("empty_log")
def test_what_repeats_is_counted_and_pushes_nothing_out() -> None:
    remember(None, "", {"level": "error", "event": "rare", "trace_id": "t"})
    for second in range(500):
        remember(None, "", {"level": "warning", "event": "outbox waits", "error": "gone", "timestamp": str(second)})
    rare, often = recent.RECENT
    assert (rare.event, rare.trace_id) == ("rare", "t")
    assert (often.times, often.at, often.detail) == (500, "499", "error=gone")
