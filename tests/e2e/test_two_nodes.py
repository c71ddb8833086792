"""Two inference processes: versions follow each other and a model's process is killed, and every answer is right."""

import pytest

from benchmarks.checked_load import MODELS
from benchmarks.mixed import Plan, measure
from shared.events.deployment import TrafficSwitched
from tests.house import House


@pytest.mark.slow
def test_a_mixed_load_gets_right_answers_alone(house: House) -> None:
    outcome = measure(house.stack, Plan(seconds=15, every=5, rate=40, kills=1, seed=1, models=MODELS[:1]))
    assert outcome.is_clean, "\n".join(map(str, (*outcome.verdicts.wrong, *outcome.verdicts.outside, outcome.kills)))
    assert outcome.events[TrafficSwitched.fact()] > 1
    assert len(outcome.kills) == 1
    assert {one.version for one in outcome.asked if one.status == 200} > {1}
