"""Admission and breaker: nothing leaks, limits hold, who is refused hears when to come again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference import admission
from services.inference.admission import Admission, Limits, ProjectFull
from services.inference.domain import Deployment
from shared.errors import AimassError, Unavailable
from shared.events.common import Signature

ROOMY = Limits(node=10**6, project=10**6, version=10**6, seconds=5)


def version(project: str = "p", model: str = "m", number: int = 1) -> Deployment:
    return Deployment(project, model, number, "", Signature(inputs=[], outputs=[]), "serving")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


VERSIONS = st.builds(version, st.sampled_from("pq"), st.sampled_from("mn"), st.integers(1, 2))


@given(st.lists(VERSIONS, max_size=60))
def test_no_limit_is_ever_passed_and_all_leave_nothing_behind(asked: list[Deployment]) -> None:
    limits = Limits(node=20, project=12, version=5, seconds=5)
    found, let_in = Admission(limits), []
    for one in asked:
        try:
            found.check(one, seconds=10)
        except AimassError as error:
            assert error.retry_after
            continue
        found.enter(one)
        let_in.append(one)
        assert found.all <= limits.node
        assert sum(other.project == one.project for other in let_in) <= limits.project
        assert found.unanswered(one.name) <= limits.version
    for one in let_in:
        found.leave(one)
    assert found.all == 0
    assert not any(found.unanswered(one.name) for one in asked)
    found.keep(set())
    assert not found._loads


def test_a_project_that_has_enough_is_told_so_and_no_other() -> None:
    found = Admission(Limits(node=10, project=1, version=5, seconds=5))
    found.enter(version("p"))
    with pytest.raises(ProjectFull):
        found.check(version("p", "other"), seconds=10)
    found.check(version("q"), seconds=10)


@given(st.floats(0.001, 1), st.integers(1, 64), st.integers(0, 200), st.floats(0.1, 100))
def test_who_would_wait_too_long_is_refused(pace: float, share: int, ahead: int, seconds: float) -> None:
    found = Admission(ROOMY)
    for _ in range(30):
        found.on_answered(version(), pace * share, share)
    for _ in range(ahead):
        found.enter(version())
    wait = ahead * pace
    if wait > min(ROOMY.seconds, seconds * admission.SHARE_OF_TIME) * 1.001:
        with pytest.raises(Unavailable) as refused:
            found.check(version(), seconds)
        assert refused.value.retry_after
        assert 1 <= refused.value.retry_after <= admission.RETRY_SECONDS_MAX
        assert abs(refused.value.retry_after - min(wait, admission.RETRY_SECONDS_MAX)) <= 1.001
    elif wait < min(ROOMY.seconds, seconds * admission.SHARE_OF_TIME) * 0.999:
        found.check(version(), seconds)


def test_a_slow_call_among_others_makes_nobody_go_away() -> None:
    found = Admission(ROOMY)
    for seconds in (30.0, 0.01, 30.0, 30.0, 0.01, 30.0):
        found.on_answered(version(), seconds, 1)
    for _ in range(100):
        found.enter(version())
    found.check(version(), seconds=10)


def test_a_silent_version_is_let_be_for_a_while_and_then_tried_again() -> None:
    clock = Clock()
    found = Admission(ROOMY, clock)
    assert [found.on_lost(version()) for _ in range(3)] == [False, False, True]
    with pytest.raises(Unavailable, match="does not answer") as refused:
        found.check(version(), 10)
    assert refused.value.retry_after == admission.OPEN_SECONDS
    found.check(version(number=2), 10)
    clock.now += admission.OPEN_SECONDS
    found.check(version(), 10)
    assert found.on_lost(version())
    clock.now += admission.OPEN_SECONDS
    found.on_answered(version(), 0.1, 1)
    assert not found.on_lost(version())


def test_a_version_that_was_loaded_anew_starts_afresh() -> None:
    found = Admission(ROOMY)
    for _ in range(3):
        found.on_lost(version())
    found.forget(version().name)
    found.check(version(), 10)


def test_more_instances_shorten_the_wait() -> None:
    found = Admission(Limits(node=100, project=100, version=100, seconds=5))
    found.set_instances("p.m.1", 4)
    for _ in range(admission.CALLS_NEEDED):
        found.on_answered(version(), 4.0, 1)
    for _ in range(4):
        found.enter(version())
    found.check(version(), seconds=10)
    found.set_instances("p.m.1", 1)
    for _ in range(admission.CALLS_KEPT):
        found.on_answered(version(), 4.0, 1)
    with pytest.raises(Unavailable, match="16 s"):
        found.check(version(), seconds=10)
