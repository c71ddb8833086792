"""A service that dies right after any commit, publication or answer of the main job changes nothing about its outcome.

One job has all points, as each service may die many times in it; `just chaos-table` has a job for each point.
"""

from pathlib import Path

import pytest

from tests.audit import UNDISTURBED
from tests.faults.job import CONFIG, arm, armed, finish, make_and_revoke_key, settled
from tests.faults.points import FIRST, KEYS, LATER, POINTS, Point
from tests.faults.table import trial
from tests.house import House, until

# Of one key gateway and auth do not both die: who gets no answer finds it made.
KEYS_AT_MOST = 5
REACHED_SECONDS = 270.0


def run_job(house: House, failpoints: Path, name: str, points: tuple[Point, ...]) -> str:
    arm(failpoints, points)
    task = house.train(name.replace(" ", "-"), **CONFIG)
    for number in range(KEYS_AT_MOST):
        if any(point in KEYS and point.file(failpoints).exists() for point in points):
            make_and_revoke_key(house, f"{name} {number}")
    finish(house, task)
    return task


def all_reached(failpoints: Path) -> None:
    try:
        until(lambda: not armed(failpoints), REACHED_SECONDS)
    except AssertionError:
        raise AssertionError(f"never reached: {armed(failpoints)}") from None


def test_killed_at_the_points_of_a_first_training(house: House, failpoints: Path) -> None:
    """Of which alone the data set is prepared; the undisturbed job is `finished`, of later tests."""
    with trial(*map(str, FIRST)):
        run_job(house, failpoints, "first", FIRST)
        all_reached(failpoints)


@pytest.mark.timeout(2700)
def test_killed_at_every_point(house: House, failpoints: Path) -> None:
    points = (*POINTS, *LATER, *KEYS)
    with trial(*map(str, points)):
        task = run_job(house, failpoints, "every point", points)
        all_reached(failpoints)
        assert settled(house, task, whole=True) == UNDISTURBED


@pytest.mark.chaos
@pytest.mark.parametrize("point", (*POINTS, *LATER, *KEYS), ids=str)
def test_killed_at_one_point(house: House, failpoints: Path, point: Point) -> None:
    with trial(str(point)):
        run_job(house, failpoints, f"one {point}", (point,))
        all_reached(failpoints)
