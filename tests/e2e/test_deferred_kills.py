"""Whatever dies after the 202: every deferred request is answered, and its answer kept and announced once."""

import random
from pathlib import Path

import pytest

from tests.e2e.deferred import accepted, check_once, defer, later
from tests.house import House, until

__all__ = ["later"]
PARTS = ("inference", "gateway", "nats", "postgres", "triton")
AT_ONCE = 5
MANY = 40
SEED = 20261127


@pytest.mark.parametrize("part", PARTS)
def test_killed_right_after(later: House, part: str) -> None:
    keys = [f"{part}-{number}" for number in range(AT_ONCE)]
    locations = [until(lambda key=key: _location(later, key), what="a 202") for key in keys]
    later.stack.kill(part)
    for location in locations:
        check_once(later, location)
    later.stack.wait_ready()


def test_killed_at_random_times(later: House) -> None:
    """While requests come; as a client does who gets no answer, each asks again with its key."""
    chance = random.Random(SEED)
    kills = dict(zip(chance.sample(range(MANY), len(PARTS)), PARTS, strict=True))
    locations = []
    for number in range(MANY):
        if part := kills.get(number):
            later.stack.kill(part)
        locations.append(until(lambda key=f"random-{number}": _location(later, key), what="a 202"))
    assert len(set(locations)) == MANY
    for location in locations:
        check_once(later, location)
    later.stack.wait_ready()


POINTS = (
    ("inference", "answered-DeferInference"),
    ("gateway", "asked-DeferInference"),
    ("inference", "committed-InferenceCompleted"),
    ("inference", "published-InferenceCompleted"),
)


@pytest.mark.parametrize(("service", "point"), POINTS)
def test_killed_at_a_point(later: House, failpoints: Path, service: str, point: str) -> None:
    """As a client does who gets no answer: ask again with the same key."""
    armed = failpoints / service / point
    armed.touch()
    location = until(lambda: _location(later, point), what="the request to be accepted")
    until(lambda: not armed.exists(), what="the point to be reached")
    check_once(later, location)
    later.stack.wait_ready()


def _location(house: House, key: str) -> str | None:
    response = defer(house, Idempotency_Key=key)
    return accepted(response) if response.status_code == 202 else None


def test_without_the_database_nothing_is_accepted(later: House) -> None:
    later.stack.stop(["postgres"])
    try:
        refused = until(lambda: (r := defer(later)).status_code == 503 and r, what="a refusal")
        assert int(refused.headers["retry-after"]) >= 1
    finally:
        later.stack.start(["postgres"])
    location = until(lambda: _location(later, "recovered"), what="the request to be accepted")
    check_once(later, location)
    later.stack.wait_ready()
