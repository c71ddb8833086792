"""What another worker gains: `python -m benchmarks.training.workers MEMBER [--workers N] [--items N] [KEY=VALUE ...]`.

Trainings by one and by several workers in turn, each process with one thread, as tasks run them here. The figure is
the fastest epoch of all rounds but the first of each training, so that other work on the machine counts little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import library
from library.base import Part
from library.files import pack
from shared.worker import REPORT_FD, REPORTS, Failure, Lost, Meeting, Metrics, Seat

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "services.trainer.engine"


def fastest_epoch(folder: Path, spec: dict[str, Any], workers: int) -> float:
    """Seconds, validation included."""
    seconds: list[float] = []
    processes, reports = [], None
    told = spec | ({"seat": {"workers": workers}, "training": {"workers": workers}} if workers > 1 else {})
    process, reports = _start(told, folder)
    with reports:
        for line in reports:
            report = REPORTS.validate_json(line)
            if isinstance(report, Failure | Lost):
                sys.exit(report.message)
            if isinstance(report, Meeting):
                seats = [Seat(workers=workers, rank=rank, meeting=report.address) for rank in range(1, workers)]
                processes = [_start(told | {"seat": seat.model_dump()}, folder) for seat in seats]
            if isinstance(report, Metrics):
                seconds.append(report.values["seconds"])
    for each, pipe in ((process, reports), *processes):
        pipe.close()
        each.wait()
    return min(seconds[1:])


def _start(spec: dict[str, Any], folder: Path) -> tuple["subprocess.Popen[bytes]", Any]:
    reader, writer = os.pipe()
    known = {name: os.environ[name] for name in ("PATH", "HOME", "AIMASS_DATA_HOME") if name in os.environ}
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", REPORT_FD: str(writer)}
    command = [sys.executable, "-m", ENGINE]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=pipe, stdout=nowhere, pass_fds=[writer], env=known | own, cwd=folder)
    os.close(writer)
    assert process.stdin
    process.stdin.write(json.dumps(spec).encode())
    process.stdin.close()
    return process, os.fdopen(reader, "rb")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.training.workers")
    parser.add_argument("member")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--items", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("config", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_intermixed_args()
    model = library.model(given.member)
    config = {"epochs": 4} | {
        name: json.loads(value) for name, _, value in (one.partition("=") for one in given.config)
    }
    spec = {"task_id": "bench", "model": model.name, "config": config, "seed": 7, "threads": 1}
    spec |= {"train": "train.npz", "validation": "validation.npz"}
    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part, items in library.data_set(model.dataset).parts().items():
            if part is not Part.TEST:
                few = {name: column[: given.items] for name, column in items.items()}
                (Path(folder) / f"{part}.npz").write_bytes(pack(few))
        for _ in range(given.rounds):
            for workers in (1, given.workers):
                best[workers] = min(fastest_epoch(Path(folder), spec, workers), best.get(workers, 1e9))
    one, several = best[1], best[given.workers]
    print(f"{model.name} {config}: an epoch {one:.3f} s by one worker, {several:.3f} s by {given.workers}: ", end="")
    print(f"{one / several:.2f} times as fast")


if __name__ == "__main__":
    main()
