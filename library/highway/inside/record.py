"""Writes what happens on some roads: `record.py FILE FIRST COUNT PICTURES`, a line on standard output for each road."""

import sys

import numpy as np
from planner import FASTER, KEEP, plan
from world import SECONDS, die_with_parent, frames_of, picture, road, see

CAREFUL, ERRATIC, ABSENT, PUSHING = range(4)
"""Drivers by turns of the seed: what they do in some seconds instead of what the planner says."""
LAPSES = {CAREFUL: (0.05, 1, 2), ERRATIC: (0.35, 1, 2), ABSENT: (0.2, 3, 7), PUSHING: (0.2, 3, 7)}
"""How likely a lapse begins in a second, and how many seconds it lasts: from, and less than."""


class Driver:
    """Says what the planner says, but for lapses: anything at all, nothing at all, or faster and faster."""

    def __init__(self, seed: int) -> None:
        self.kind, self.random, self.left = seed % 4, np.random.RandomState(seed), 0

    def decide(self, seen: np.ndarray) -> int:
        begins, least, end = LAPSES[self.kind]
        if not self.left and self.random.random_sample() < begins:
            self.left = self.random.randint(least, end)
        if not self.left:
            return plan(seen)
        self.left -= 1
        return {ABSENT: KEEP, PUSHING: FASTER}.get(self.kind, self.random.randint(5))


def record(seed: int, pictures: bool) -> list[dict]:
    """The frames of one road, five a second, until a crash or for thirty seconds."""
    env, driver, found = road(seed), Driver(seed), []
    for _ in range(SECONDS):
        manoeuvre = driver.decide(see(env))
        seen = (
            frame(env, manoeuvre) | ({"picture": picture(env)} if pictures else {}) for _ in frames_of(env, manoeuvre)
        )
        found.extend(told | {"road": seed} for told in seen)
        if env.vehicle.crashed:
            break
    env.close()
    return found


def frame(env, manoeuvre: int) -> dict:
    """What the car sees, in centimetres, what the planner would do and what is done, and whether it has crashed."""
    seen = see(env)
    told = {"advice": plan(seen), "manoeuvre": manoeuvre, "crashed": env.vehicle.crashed}
    return {"seen": np.round(100 * seen)} | told


TYPES = {"seen": "<i2", "advice": "i1", "manoeuvre": "i1", "crashed": "?", "road": "<i4", "picture": "u1"}
"""The columns of a file in their order, on which its digest depends."""


def main(file: str, first: str, count: str, pictures: str) -> None:
    found = []
    for number in range(int(count)):
        found += record(int(first) + number, pictures == "1")
        print(number + 1, flush=True)
    np.savez(
        file,
        **{name: np.array([told[name] for told in found], kind) for name, kind in TYPES.items() if name in found[0]},
    )


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
