"""Clones HEAD into a temporary folder with an awkward path, and runs the two commands of the README there.

Prints how long each took, with and without the installation; arguments go to the tests.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deploy.bootstrap import ROOT


class CommandFailed(Exception):
    """A command of the README did not succeed in a fresh clone."""


def run(folder: Path, *command: str) -> None:
    """Run a command in a group of its own, so that whoever ends us ends all of it."""
    print(f"\n$ {' '.join(command)}", flush=True)
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status != 0:
        raise CommandFailed(f"{' '.join(command)} ended with status {status}")


def timed(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def measure(clone: Path, tests: list[str]) -> dict[str, float]:
    """Seconds of the installation, the demo and the tests."""
    times = {"install": timed(lambda: run(clone, "./justw", "install"))}
    try:
        times["demo"] = timed(lambda: run(clone, "./justw", "demo"))
        times["test"] = timed(lambda: run(clone, "./justw", "test", *tests))
    finally:
        run(clone, "./justw", "down")
    return times


def table(times: dict[str, float]) -> str:
    lines = [f"{'seconds':<8}{'alone':>10}{'with install':>14}"]
    lines += [f"{name:<8}{times[name]:>10.1f}{times[name] + times['install']:>14.1f}" for name in ("demo", "test")]
    return "\n".join([*lines, f"{'install':<8}{times['install']:>10.1f}"])


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the clone and its stack go, too
    parser = argparse.ArgumentParser(description=__doc__)
    _, tests = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="aimass-fresh-"))
    clone = folder / "AI Mass – frisch geklönt"
    try:
        run(folder, "git", "clone", "--quiet", str(ROOT), str(clone))
        print(f"\n{table(measure(clone, tests))}")
    except CommandFailed as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
