"""Lets driving-policy drive on roads that it has not seen, beside IDM: `python -m library.highway.closed_loop [FILE]`.

FILE is a version's ONNX file; without one the member is trained here first, by seed 0. Crashes are counted, and the
mean speed of a road is taken over its seconds until its end; intervals are of 95%, by bootstrap over roads.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import library
from library.base import Part
from library.graphs.export import export
from library.highway.simulator import started
from library.training.epochs import Training

MEMBER = "driving-policy"
FIRST, ROADS = 90_000, 100
ROUNDS, SEED = 10_000, 20240501
PERCENTILES = (2.5, 97.5)
LEAST_SHARE = 0.95

Drive = list[dict[str, Any]]


def drive(driver: str, first: int, count: int, session: onnxruntime.InferenceSession | None = None) -> Drive:
    """What became of each road: whether it ended with a crash, after how many seconds, and the mean speed."""
    with started("drive.py", driver, str(first), str(count), tell=say) as process:
        while isinstance(said := heard(process), list):
            answer(process, session, np.array(said, "<f4"))
    found: Drive = said["roads"]
    return found


def heard(process: "subprocess.Popen[str]") -> Any:
    """The next line of the simulator; it says why where it ends without one."""
    assert process.stdout
    return json.loads(process.stdout.readline() or '{"roads": []}')


def answer(
    process: "subprocess.Popen[str]", session: onnxruntime.InferenceSession | None, tables: "np.ndarray[Any, Any]"
) -> None:
    assert process.stdin
    assert session
    chances = session.run(None, {session.get_inputs()[0].name: tables})[0] if len(tables) else np.zeros((0, 5))
    process.stdin.write(json.dumps(chances.argmax(axis=1).tolist()) + "\n")
    process.stdin.flush()


def trained(folder: Path) -> Path:
    """The member's file after its usual training."""
    model = library.model(MEMBER)
    dataset, config = library.data_set(model.dataset), model.validate({})
    dataset.fetch(say)
    parts = dataset.parts()
    training = Training(model, config, 0, parts[Part.TRAIN], parts[Part.VALIDATION])
    while training.epoch < config.epochs:
        training.run_epoch(lambda: None)
    say(f"trained: {training.metrics}")
    export(model, training.module, folder / "model.onnx")
    return folder / "model.onnx"


def compared(drives: dict[str, Drive]) -> list[str]:
    """A line for each driver: crashes and speed with intervals, and its speed as a share of IDM's on equal roads."""
    speeds = {name: np.array([road["speed"] for road in roads]) for name, roads in drives.items()}
    chosen = np.random.RandomState(SEED).randint(len(speeds["idm"]), size=(ROUNDS, len(speeds["idm"])))
    lines = []
    for name, roads in drives.items():
        crashed = np.array([float(road["crashed"]) for road in roads])
        share = speeds[name][chosen].mean(axis=1) / speeds["idm"][chosen].mean(axis=1)
        lines.append(
            f"{name}: {int(crashed.sum())} crashes on {len(roads)} roads (rate {_between(_rates(crashed))}), "
            f"{speeds[name].mean():.2f} m/s ({_between(speeds[name][chosen].mean(axis=1), '.2f')}), "
            f"{speeds[name].mean() / speeds['idm'].mean():.3f} of IDM's ({_between(share)})"
        )
    return lines


def _rates(crashed: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Draws of the true rate given what was seen, by Jeffreys' prior: a bootstrap of no crash at all knows no doubt."""
    return np.random.RandomState(SEED).beta(crashed.sum() + 0.5, len(crashed) - crashed.sum() + 0.5, ROUNDS)


def _between(draws: "np.ndarray[Any, Any]", form: str = ".3f") -> str:
    low, high = np.percentile(draws, PERCENTILES)
    return f"{low:{form}} to {high:{form}}"


def holds(drives: dict[str, Drive]) -> bool:
    """No more crashes than IDM, at 95% of its mean speed or more."""
    crashes = {name: sum(road["crashed"] for road in roads) for name, roads in drives.items()}
    speeds = {name: np.mean([road["speed"] for road in roads]) for name, roads in drives.items()}
    return bool(crashes[MEMBER] <= crashes["idm"] and speeds[MEMBER] >= LEAST_SHARE * speeds["idm"])


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="a version's ONNX file")
    parser.add_argument("--first", type=int, default=FIRST, help="the first road's seed")
    parser.add_argument("--roads", type=int, default=ROADS)
    asked = parser.parse_args()
    with ThreadPoolExecutor() as pool, tempfile.TemporaryDirectory() as folder:
        others = {name: pool.submit(drive, name, asked.first, asked.roads) for name in ("idm", "planner")}
        session = onnxruntime.InferenceSession(asked.file or trained(Path(folder)), providers=["CPUExecutionProvider"])
        own = drive("asked", asked.first, asked.roads, session)
        drives = {name: found.result() for name, found in others.items()} | {MEMBER: own}
    print("\n".join(compared(drives)))
    return 0 if holds(drives) else 1


if __name__ == "__main__":
    raise SystemExit(main())
