"""When tasks begin and end: as the desk lets them, by what their like took, and nothing that is not known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.forecasting.domain import Going, Past, Place, expected, held_up, left, simulated
from shared.tasks.terms import MIB, Resources

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NODE = Resources(cores=2, memory=4096 * MIB)
ONE = Resources(cores=1, memory=0)
ALL = Resources(cores=2, memory=0)
SECONDS = st.one_of(st.none(), st.floats(0.5, 1000))
NEEDS = st.builds(lambda cores: Resources(cores=cores, memory=0), st.sampled_from([0.5, 1.0, 2.0, 3.0]))


def key(name: str) -> tuple[str, str]:
    return ("default", name)


def going(name: str, **facts: Any) -> Going:
    given = {"parameters": {}, "started_at": NOW, "seconds_left": None, "waits_for": ()} | facts
    return Going(key=key(name), kind="train", model="m", **given)


def test_what_fits_begins_now_and_the_rest_when_something_ends() -> None:
    waiting = [(key("a"), ONE, 10.0), (key("b"), ALL, 5.0), (key("c"), ONE, 1.0)]
    found = simulated(Place(NODE, [(ONE, 20.0)], waiting))
    assert found == {key("a"): (0.0, 10.0), key("b"): (20.0, 25.0), key("c"): (25.0, 26.0)}


def test_unknown_time_frees_nothing_and_gives_no_estimate() -> None:
    found = simulated(Place(NODE, [(ALL, None)], [(key("a"), ONE, 10.0)]))
    assert found == {}
    found = simulated(Place(NODE, [], [(key("a"), ALL, None), (key("b"), ONE, 1.0)]))
    assert found == {key("a"): (0.0, None)}


def test_what_no_node_can_run_holds_nobody_up() -> None:
    waiting = [(key("a"), Resources(cores=8, memory=0), 1.0), (key("b"), ONE, 1.0)]
    assert simulated(Place(NODE, [], waiting)) == {key("b"): (0.0, 1.0)}


@given(st.lists(st.tuples(NEEDS, SECONDS), max_size=6), st.lists(st.tuples(NEEDS, SECONDS), max_size=12))
def test_never_more_runs_than_the_node_has(
    running: list[tuple[Resources, float | None]], waiting: list[tuple[Resources, float | None]]
) -> None:
    line = [(key(str(number)), needs, seconds) for number, (needs, seconds) in enumerate(waiting)]
    found = simulated(Place(NODE, running, line))
    spans = [(0.0, end, needs.cores) for needs, end in running]
    begun = [(*found[name], needs.cores) for name, needs, _ in line if name in found]
    for begins, _, _ in begun:
        at_once = [span for span in (*spans, *begun) if span[0] <= begins and (span[1] is None or span[1] > begins)]
        if sum(cores for _, _, cores in spans) <= NODE.cores:
            assert sum(cores for _, _, cores in at_once) <= NODE.cores + 1e-6
    for name, _, seconds in line:
        if name in found:
            begins, ends = found[name]
            assert ends == (None if seconds is None else begins + seconds)


def test_what_took_the_same_before_is_believed_and_else_its_kind() -> None:
    past = [Past({"epochs": 1, "seed": 1}, 10), Past({"epochs": 1, "seed": 2}, 14), Past({"epochs": 9, "seed": 1}, 90)]
    assert expected(past, {"epochs": 1, "seed": 3}) == 12
    assert expected(past, {"epochs": 5}) == 14
    assert expected([], {"epochs": 5}) is None


@pytest.mark.parametrize(
    ("facts", "seconds", "rest"),
    [
        ({"seconds_left": 7.0}, 100.0, 7.0),
        ({"started_at": NOW - timedelta(seconds=30)}, 100.0, 70.0),
        ({"started_at": NOW - timedelta(seconds=130)}, 100.0, None),
        ({}, None, None),
        ({"started_at": None}, 100.0, None),
    ],
)
def test_a_running_task_ends_as_it_says_or_as_its_like(
    facts: dict[str, Any], seconds: float | None, rest: float | None
) -> None:
    assert left(going("a", **facts), seconds, NOW) == rest


def test_what_waits_for_others_begins_after_all_of_them() -> None:
    tasks = [
        (going("c", waits_for=("a", "b")), 5.0),
        (going("d", waits_for=("c",)), None),
        (going("e", waits_for=("x",)), 1.0),
    ]
    found = held_up(tasks, {key("a"): 10.0, key("b"): 20.0})
    assert found == {key("c"): (20.0, 25.0), key("d"): (25.0, None)}
    assert held_up(tasks[:1], {key("a"): None, key("b"): 20.0}) == {}
