"""One run of a loop: what its own process took for the loop, and what all its processes took in the end."""

import ctypes
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import psutil

from benchmarks.training.bare import GIVEN, Given
from benchmarks.training.loops import ROOT, Loop
from deploy.embedded.folders import short_folder
from deploy.embedded.launch import base_environment
from shared.environments import Unavailable

PR_SET_CHILD_SUBREAPER = 36
LINGER_SECONDS = 10.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Run:
    """Seconds of processor time of the loop alone and of all processes, seconds that passed, digest of the weights."""

    loop: float
    whole: float
    wall: float
    weights: str


def become_reaper() -> None:
    """Have the kernel give us what a loop's processes leave behind, so that it is counted and ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def run(loop: Loop, python: Path, given: Given) -> Run:
    """Raises Unavailable with the last line of what a loop that failed has said."""
    with TemporaryDirectory(dir=short_folder("bench")) as folder:
        out, log, began = Path(folder) / "out", Path(folder) / "log", time.monotonic()
        with out.open("wb") as answer, log.open("wb") as said:
            process = subprocess.Popen(
                [str(python), *loop.program],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=said,
                cwd=folder,
                env=_environment(loop, given, folder),
                start_new_session=True,
            )
            code, whole = _reap(process.pid)
        process.returncode = code
        if code:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise Unavailable(f"{loop.label} ended with {code}: {lines[-1] if lines else 'without a word'}")
        found = json.loads(out.read_text().strip().splitlines()[-1])
        return Run(found["loop"], whole, time.monotonic() - began, found["weights"])


def _environment(loop: Loop, given: Given, folder: str) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "HOME": folder, "TMPDIR": folder, "BENCH_SHORT": f"{folder}/r"}
    secret = {"RAY_AUTH_TOKEN": token_hex(32)}
    return base_environment({**ONE_THREAD, **own, **secret, **loop.settings, GIVEN: json.dumps(given.__dict__)})


def _reap(pid: int) -> tuple[int, float]:
    """The exit code of this process, and the processor time of it and all that it started."""
    code, whole, deadline = None, 0.0, float("inf")
    while True:
        try:
            ended, status, used = os.wait4(-1, 0 if code is None else os.WNOHANG)
        except ChildProcessError:
            return code or 0, whole
        if ended == 0:
            if time.monotonic() > deadline:
                _end_all()
            time.sleep(0.05)
            continue
        whole += used.ru_utime + used.ru_stime
        if ended == pid:
            code, deadline = os.waitstatus_to_exitcode(status), time.monotonic() + LINGER_SECONDS


def _end_all() -> None:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
