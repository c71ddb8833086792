"""What a node decides of memory and instances, for any demand and any residents."""

from hypothesis import given
from hypothesis import strategies as st

from services.inference.resources.domain import (
    Bounds,
    Change,
    Demand,
    Estimates,
    Resident,
    Scaling,
    Thresholds,
    make_room,
)
from services.inference.resources.meter import Meter

LIMITS = Thresholds(waited=0.1, up=1, down=60)
TURN = 0.5
BOUNDS = st.tuples(st.integers(1, 5), st.integers(0, 5)).map(lambda pair: Bounds(pair[0], sum(pair)))
DEMANDS = st.lists(st.builds(Demand, st.floats(0, 5), st.floats(0, 1)), max_size=300)
NOW, IDLE = 100.0, 1.0
RESIDENTS = st.lists(
    st.builds(
        Resident,
        st.uuids().map(str),
        st.integers(1, 100),
        st.floats(0, NOW),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.name,
)


def followed(demands: list[Demand], bounds: Bounds, count: int = 1) -> list[tuple[float, Change]]:
    """The changes, and when they came, of a version that these demands are made of, one a turn."""
    scaling, changes = Scaling(), []
    for turn, demand in enumerate(demands):
        if change := scaling.decide(count, bounds, demand, LIMITS, turn * TURN):
            changes.append((turn * TURN, change))
            count = change.count
    return changes


@given(DEMANDS, BOUNDS, st.integers(1, 12))
def test_bounds_are_never_left_and_are_reached_at_once(demands: list[Demand], bounds: Bounds, count: int) -> None:
    changes = followed(demands, bounds, count)
    assert all(bounds.least <= change.count <= bounds.most and change.reason for _, change in changes)
    if demands and not bounds.least <= count <= bounds.most:
        assert changes[0][0] == 0


@given(DEMANDS, BOUNDS)
def test_nothing_flaps(demands: list[Demand], bounds: Bounds) -> None:
    """After more instances there are no fewer before a whole calm time, and no step is sooner than its time."""
    changes = followed(demands, bounds, bounds.least)
    before, at = bounds.least, 0.0
    for when, change in changes:
        assert abs(change.count - before) == 1
        assert when - at >= (LIMITS.up if change.count > before else LIMITS.down) - TURN
        before, at = change.count, when


def test_more_come_soon_and_go_late() -> None:
    busy, calm = [Demand(waited=0.5, busy=0.5)] * 10, [Demand(busy=0.1)] * 400
    changes = followed(busy + calm, Bounds(1, 3))
    assert [(when, change.count) for when, change in changes] == [(1.0, 2), (2.5, 3), (65.0, 2), (125.5, 1)]
    assert "500 ms" in changes[0][1].reason
    assert "10%" in changes[-1][1].reason


def test_a_short_burst_changes_nothing() -> None:
    assert followed(([Demand(waited=3, busy=1)] * 2 + [Demand()]) * 20, Bounds(1, 3)) == []


def test_who_would_be_busy_again_with_one_less_keeps_it() -> None:
    assert followed([Demand(busy=0.5)] * 400, Bounds(1, 2), count=2) == []


@given(RESIDENTS, st.integers(0, 200), st.integers(1, 500))
def test_room_is_made_of_those_that_may_go_the_oldest_first(
    residents: list[Resident], needed: int, budget: int
) -> None:
    room = make_room(residents, needed, budget, NOW, IDLE)
    by_name = {each.name: each for each in residents}
    parked = [by_name[name] for name in room.parks]
    assert all(not each.pinned and not each.in_flight and NOW - each.used >= IDLE for each in parked)
    assert [each.used for each in parked] == sorted(each.used for each in parked)
    left = [each for each in residents if each.name not in room.parks]
    idle = [each for each in left if each.may_go() and NOW - each.used >= IDLE]
    assert not parked or all(each.used >= parked[-1].used for each in idle)
    total = sum(each.memory for each in left) + needed
    assert room.fits == (total <= budget)
    if not room.fits:
        assert not idle
        assert room.soon == (total - sum(each.memory for each in left if each.may_go()) <= budget)
    elif parked:
        assert total + parked[-1].memory > budget


@given(RESIDENTS, st.integers(0, 10**9))
def test_without_a_budget_nobody_leaves(residents: list[Resident], needed: int) -> None:
    assert make_room(residents, needed, 0, NOW, IDLE).parks == ()


def test_what_was_measured_counts_more_than_what_the_file_says() -> None:
    estimates = Estimates(each=80)
    estimates.sizes["a"] = 20
    assert estimates.of("a", 2) == 200
    estimates.note({"a": (180, 3), "b": (0, 0)})
    assert estimates.of("a", 2) == 120
    assert estimates.of("b", 1) == 80


class TestAMeter:
    def test_says_which_share_of_time_calls_were_under_way(self) -> None:
        clock = iter([0.0, 1.0, 1.0, 3.0, 4.0, 4.0, 6.0]).__next__
        meter = Meter(clock)  # met at 0
        meter.used("m")
        meter.on_begun("m", 0.25)
        meter.touch("m")
        meter.on_ended("m")
        assert meter.read("m", 2, None) == Demand(waited=0.75, busy=0.25)
        meter.on_begun("m", 4.0)
        assert meter.read("m", 1, oldest=4.5) == Demand(waited=1.5, busy=1.0)

    def test_forgets_what_nobody_wants_any_more(self) -> None:
        meter = Meter(iter(range(100)).__next__)
        meter.on_begun("flying", 0)
        meter.touch("gone")
        meter.keep(set())
        assert meter.used("gone") > meter.used("flying")
