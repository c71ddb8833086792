"""kill -9 of a part at a seeded random time during the main job changes nothing about its outcome."""

import random
import time

import pytest

from tests.house import UNDISTURBED, House, audit, until

SEED = 20261124
PARTS = ("trainer", "inference", "nats", "postgres", "registry", "evaluator", "monitor", "auth", "gateway", "triton")
CONFIG = {"epochs": 12}


def settled(house: House, task_id: str) -> bool:
    return audit(house, task_id) == UNDISTURBED


def test_undisturbed(house: House) -> None:
    task = house.train("undisturbed", **CONFIG)
    house.wait_served(task)
    until(lambda: settled(house, task), 30, "the outcome")


@pytest.mark.parametrize("part", PARTS)
def test_killed_at_a_random_time(house: House, part: str) -> None:
    delay = random.Random(f"{SEED}-{part}").uniform(0.2, 12)
    task = house.train(f"killed-{part}", **CONFIG)
    time.sleep(delay)
    state = house.stack.info["processes"]
    house.stack.kill(part)
    print(f"killed {part} (pid {state[part]}) {delay:.1f} s after the task was accepted")
    house.stack.wait_ready(seconds=60)
    assert house.wait_task(task)["state"] == "succeeded"
    house.wait_served(task)
    until(lambda: settled(house, task), 30, f"the outcome (now {audit(house, task)})")
