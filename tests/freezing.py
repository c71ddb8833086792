"""Freezes a process for certain: when `kill` returns, its signal may still be on the way to busy threads."""

import os
import signal
import time
from pathlib import Path


def freeze(pid: int) -> None:
    """Return once no thread of the process runs."""
    os.kill(pid, signal.SIGSTOP)
    while not all(map(_stands_still, Path(f"/proc/{pid}/task").iterdir())):
        time.sleep(0.001)


def thaw(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def _stands_still(thread: Path) -> bool:
    """Whether it is stopped, or has ended since."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
