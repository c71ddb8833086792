"""Failpoints: named moments at which a test may have a service die as if by power loss.

A setting names a folder; a file in it, such as `handled-TrainingCompleted`, arms one point once: the process that
reaches it removes the file and kills itself. Without the setting nothing is looked up.
"""

import os
import signal
from pathlib import Path

_armed: list[Path] = []


def set_up(folder: Path | None) -> None:
    """Look into this folder from now on, or nowhere."""
    _armed[:] = [folder] if folder else []


def reach(moment: str, name: str) -> None:
    """Die here if this point is armed."""
    for folder in _armed:
        point = folder / f"{moment}-{name}"
        if point.exists():
            point.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
