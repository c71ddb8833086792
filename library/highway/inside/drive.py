"""Drives some roads to their ends: `drive.py DRIVER FIRST COUNT`, a line of JSON on standard output for each road.

DRIVER is `idm`, `planner`, or `asked`: then each second a line with the tables of all roads that are not at their end
goes out, and a line with their manoeuvres comes in, until a line of results ends it.
"""

import json
import sys

import numpy as np
from highway_env.vehicle.behavior import IDMVehicle
from planner import SPEEDS, plan
from world import SECONDS, die_with_parent, frames_of, road, see


def give_to_idm(env) -> None:
    """Let the simulator's own driver have the car, as fast as the others' speed limit lets it."""
    given = env.vehicle
    driver = IDMVehicle(env.road, given.position, given.heading, given.speed, target_speed=SPEEDS[-1])
    env.road.vehicles[env.road.vehicles.index(given)] = driver
    env.controlled_vehicles = [driver]
    env.action_type.act = lambda _: None


def answers(driver: str, tables: list[np.ndarray]) -> list[int]:
    if driver == "asked":
        print(json.dumps([table.tolist() for table in tables]), flush=True)
        return json.loads(sys.stdin.readline())
    return [plan(table) if driver == "planner" else 0 for table in tables]


def main(driver: str, first: str, count: str) -> None:
    roads = [road(int(first) + number) for number in range(int(count))]
    if driver == "idm":
        for env in roads:
            give_to_idm(env)
    speeds = [[] for _ in roads]
    for _ in range(SECONDS):
        going = [number for number, env in enumerate(roads) if not env.vehicle.crashed]
        for number, manoeuvre in zip(going, answers(driver, [see(roads[number]) for number in going]), strict=True):
            for _ in frames_of(roads[number], manoeuvre):
                pass
            speeds[number].append(float(roads[number].vehicle.speed))
    results = [
        {"crashed": bool(env.vehicle.crashed), "seconds": len(own), "speed": float(np.mean(own))}
        for env, own in zip(roads, speeds, strict=True)
    ]
    print(json.dumps({"roads": results}), flush=True)


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
