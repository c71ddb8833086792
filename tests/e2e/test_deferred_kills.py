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
    locations = [_asked(later, f"{part}-{number}") for number in range(AT_ONCE)]
    later.stack.kill(part)
    for location in locations:
        check_once(later, location)
    later.stack.wait_ready()


def test_killed_at_random_times(later: House) -> None:
    """While requests come."""
    chance = random.Random(SEED)
    kills = dict(zip(chance.sample(range(MANY), len(PARTS)), PARTS, strict=True))
    locations = []
    for number in range(MANY):
        if part := kills.get(number):
            later.stack.kill(part)
        locations.append(_asked(later, f"random-{number}"))
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
    armed = failpoints / service / point
    armed.touch()
    location = _asked(later, point)
    until(lambda: not armed.exists(), what="the point to be reached")
    check_once(later, location)
    later.stack.wait_ready()


def _asked(house: House, key: str) -> str:
    """Where to look; as a client does who gets no answer, it asks again with its key."""
    response = until(lambda: (r := defer(house, Idempotency_Key=key)).status_code == 202 and r, what="a 202")
    return accepted(response)


def test_without_the_database_nothing_is_accepted(later: House) -> None:
    later.stack.stop(["postgres"])
    try:
        refused = until(lambda: (r := defer(later)).status_code == 503 and r, what="a refusal")
        assert int(refused.headers["retry-after"]) >= 1
    finally:
        later.stack.start(["postgres"])
    location = _asked(later, "recovered")
    check_once(later, location)
    later.stack.wait_ready()
