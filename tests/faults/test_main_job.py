"""Parts killed, stopped and restarted at seeded random times during the main job change nothing about its outcome."""

import random
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.job import CONFIG, finish
from tests.faults.table import trial
from tests.house import House

SEED = 20261124
GROUPS = (
    ("trainer", "nats", "monitor"),
    ("inference", "postgres", "auth"),
    ("registry", "evaluator", "triton", "gateway"),
)
PARTS = tuple(part for group in GROUPS for part in group)
RESTARTED = ("nats", "postgres", "triton")
ROUNDS = 3
SPAN_SECONDS = 9.0


def at_random_times(chance: random.Random, parts: tuple[str, ...], do: Callable[[str], object], what: str) -> None:
    """Do something to each part at a time of its own after the task was accepted."""
    begun = time.monotonic()
    for moment, part in sorted((chance.uniform(0.2, SPAN_SECONDS), part) for part in parts):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        print(f"{moment:4.1f} s after the task was accepted: {what} {part}")
        do(part)


def run_killed(house: House, parts: tuple[str, ...], turn: int = 0) -> None:
    name = f"{'-'.join(parts)}-{turn}"
    with trial(*(f"kill -9 {part} at a random time" for part in parts)):
        task = house.train(f"killed-{name}", **CONFIG)
        at_random_times(random.Random(f"{SEED}-{name}"), parts, house.stack.kill, "kill -9")
        house.stack.wait_ready()
        finish(house, task)


@pytest.mark.parametrize("parts", GROUPS, ids="-".join)
def test_killed_at_random_times(house: House, parts: tuple[str, ...]) -> None:
    run_killed(house, parts)


@pytest.mark.chaos
@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("part", PARTS)
def test_killed_alone(house: House, part: str, turn: int) -> None:
    run_killed(house, (part,), turn)


def restart(house: House, part: str) -> None:
    house.stack.stop([part])
    house.stack.start([part])


def test_servers_restarted(house: House) -> None:
    with trial(*(f"restart of {part}" for part in RESTARTED)):
        task = house.train("restarted", **CONFIG)
        at_random_times(random.Random(SEED), RESTARTED, lambda part: restart(house, part), "restart of")
        house.stack.wait_ready()
        finish(house, task)


def test_process_manager_killed(house: House) -> None:
    """All dies with it; `up` goes on from what was kept."""
    with trial("kill -9 of the process manager, then up"):
        task = house.train("manager", **CONFIG)
        time.sleep(random.Random(SEED).uniform(1, 5))
        running = [psutil.Process(pid) for pid in house.stack.info["processes"].values()]
        house.stack.kill("supervisord")
        psutil.wait_procs(running, timeout=60)
        house.stack.up()
        finish(house, task)
