"""The work folders of this process's tasks; what a killed process has left is removed by the next one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "worker-"
LOCK = "lock"


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A folder of our own below the root; the kernel drops our lock on it when we die."""
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / LOCK, wait=True):
        _sweep(root)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root)).resolve()
        held = _lock(folder / LOCK, wait=False)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{PREFIX}*"):
        try:
            with _locked(folder / LOCK, wait=False):
                shutil.rmtree(folder)
        except BlockingIOError:
            continue


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Raises BlockingIOError when another process holds the lock and we shall not wait."""
    held = _lock(path, wait=wait)
    try:
        yield
    finally:
        os.close(held)


def _lock(path: Path, *, wait: bool) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
