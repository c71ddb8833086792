"""Where tests keep their folders: in memory where it has room, as a database takes a thousand files on a disk.

What a killed process wrote is there either way; no test cuts the machine's power.
"""

import os
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108
ROOT = "PYTEST_DEBUG_TEMPROOT"
SPACE = 6 * 1024**3
LEFT = 6 * 1024**3


def use_memory() -> None:
    """For this process and those it starts, unless told otherwise; scripts must be able to run there."""
    if ROOT not in os.environ and _has_room():
        os.environ[ROOT] = str(MEMORY)


def _has_room() -> bool:
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    there = os.statvfs(MEMORY)
    free = there.f_bavail * there.f_frsize
    return not there.f_flag & os.ST_NOEXEC and free >= SPACE and psutil.virtual_memory().available >= SPACE + LEFT
