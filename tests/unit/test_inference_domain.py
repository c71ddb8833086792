"""What inference decides, for any state of Triton."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.domain import HELD_STATES, Deployment, Routing, plan
from shared.errors import NotFound, Unavailable
from shared.events.common import Signature

VERSIONS = st.integers(1, 6)
STATES = st.sampled_from(HELD_STATES)


def deployment(version: int, state: str) -> Deployment:
    return Deployment("default", "m", version, "0" * 64, Signature(), state)


WANTED = st.dictionaries(VERSIONS, STATES).map(
    lambda states: {found.name: found for found in (deployment(v, s) for v, s in states.items())}
)
NAMES = st.sets(VERSIONS.map(lambda version: f"default.m.{version}"))


@given(WANTED, NAMES, NAMES)
def test_a_plan_carried_out_leaves_nothing_to_do(
    wanted: dict[str, Deployment], ready: set[str], released: set[str]
) -> None:
    first = plan(wanted, ready, released)
    after = (ready | set(first.load)) - set(first.unload)
    assert after == set(wanted)
    second = plan(wanted, after, released)
    assert not second.load
    assert not second.unload


@given(WANTED, NAMES, NAMES)
def test_differences_are_only_what_we_did_not_cause(
    wanted: dict[str, Deployment], ready: set[str], released: set[str]
) -> None:
    found = plan(wanted, ready, released)
    assert all(wanted[name].state in ("staged", "serving") for name in found.missing)
    assert not found.foreign & released
    assert not found.foreign & wanted.keys()


@given(WANTED, NAMES)
def test_the_serving_version_is_loaded_first(wanted: dict[str, Deployment], ready: set[str]) -> None:
    states = [wanted[name].state == "serving" for name in plan(wanted, ready, set()).load]
    assert states == sorted(states, reverse=True)


@given(WANTED, NAMES, NAMES, st.none() | VERSIONS, st.text(max_size=4) | VERSIONS.map(str))
def test_only_ready_and_parked_versions_answer(
    wanted: dict[str, Deployment], ready: set[str], parked: set[str], route: int | None, version: str
) -> None:
    routes = {} if route is None else {("default", "m"): route}
    routing = Routing(wanted=wanted, ready=frozenset(ready), parked=frozenset(parked), routes=routes)
    try:
        found = routing.pick("default", "m", version)
    except (NotFound, Unavailable):
        return
    assert found.name in ready | parked
    assert found.version == (int(version) if version else route)
    assert found.version in routing.versions("default", "m")


def test_another_project_sees_nothing() -> None:
    found = deployment(1, "serving")
    known = {"wanted": {found.name: found}, "ready": frozenset({found.name}), "routes": {("default", "m"): 1}}
    routing = Routing(**known, sure_until=math.inf)
    assert routing.pick("default", "m", "").version == 1
    with pytest.raises(NotFound):
        routing.pick("other", "m", "")


@given(WANTED, NAMES, st.none() | VERSIONS, st.just("") | VERSIONS.map(str))
def test_only_a_node_that_others_wait_for_says_that_nothing_is_there(
    wanted: dict[str, Deployment], ready: set[str], route: int | None, version: str
) -> None:
    routes = {} if route is None else {("default", "m"): route}
    known = {"wanted": wanted, "ready": frozenset(ready), "routes": routes}
    name = f"default.m.{version or route}"
    for routing, expected in ((Routing(**known, sure_until=math.inf), NotFound), (Routing(**known), Unavailable)):
        try:
            assert routing.pick("default", "m", version) is wanted[name]
        except (NotFound, Unavailable) as error:
            assert type(error) is (Unavailable if name in wanted else expected)


@given(WANTED, NAMES, NAMES, NAMES, st.none() | VERSIONS)
def test_a_model_is_left_to_other_nodes_only_when_its_route_is_held_there_and_not_here(
    wanted: dict[str, Deployment], ready: set[str], parked: set[str], elsewhere: set[str], route: int | None
) -> None:
    routes = {} if route is None else {("default", "m"): route}
    routing = Routing(
        wanted=wanted,
        ready=frozenset(ready),
        parked=frozenset(parked),
        elsewhere=frozenset(elsewhere),
        routes=routes,
    )
    name, held = f"default.m.{route}", ready | parked
    is_left = name in elsewhere and name not in held
    assert routing.models() == ({("default", "m")} if wanted.keys() & held and not is_left else set())
