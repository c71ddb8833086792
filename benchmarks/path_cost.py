"""What a small prediction costs the gateway and inference in processor time, each alone, without a socket or a bus.

Requests come as bytes of as many connections as are named, all of one turn of the loop; the bus, and Triton, answer in
the next turn, and what they take is not counted. Two checkouts are measured in turn, so that a busy machine meets both.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.path_parts import GatewayPath, InferencePath
from shared.service import GC_THRESHOLDS

CONNECTIONS = (16, 64)
SECONDS = 1.0
WARM_UP = 50
ROOT = Path(__file__).parent.parent
Costs = dict[str, float]


async def measured() -> Costs:
    """Microseconds a request by part and connections: the best of the windows, as what disturbs only adds."""
    found: Costs = {}
    gc.set_threshold(*GC_THRESHOLDS)
    for name, make in (("gateway", GatewayPath), ("inference", InferencePath)):
        for connections in CONNECTIONS:
            path = await make.started(connections)
            for _ in range(WARM_UP):
                await path.turn()
            gc.freeze()
            found[f"{name} at {connections}"] = min([await path.window(SECONDS / 10) for _ in range(10)])
    return found


def _in(checkout: Path) -> Costs:
    command = [sys.executable, "-m", "benchmarks.path_cost", "--once"]
    environment = os.environ | {"PYTHONPATH": f"{checkout}:{checkout / 'sdk'}"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    found: Costs = json.loads(done.stdout.splitlines()[-1])
    return found


def _tell(name: str, rounds: list[Costs]) -> None:
    middle = {part: median(each[part] for each in rounds) for part in rounds[0]}
    print(f"{name}: " + ", ".join(f"{part} {cost:.1f} µs" for part, cost in middle.items()))


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="just path-cost", description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn with this one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="one round here, as JSON")
    chosen = parser.parse_args(given)
    if chosen.once:
        print(json.dumps(uvloop.run(measured())))
        return
    checkouts: Mapping[str, Path] = {"here": ROOT} | ({"there": chosen.against.resolve()} if chosen.against else {})
    rounds: dict[str, list[Costs]] = {name: [] for name in checkouts}
    for turn in range(chosen.rounds):
        for name in list(checkouts)[:: 1 if turn % 2 else -1]:
            rounds[name].append(_in(checkouts[name]))
    for name, found in rounds.items():
        _tell(name, found)


if __name__ == "__main__":
    main()
