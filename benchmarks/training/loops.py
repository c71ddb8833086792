"""The loops that are compared: each as a program of its own, the peers in environments of their own."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.environments import environment, locked
from shared.tasks.process import KEEPS_MEMORY

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"
LINK = "aimass-main.pth"
BARE, OURS, BARE_KEEPING = "bare PyTorch", "AI Mass", "bare, keeping memory"


@dataclass(frozen=True)
class Loop:
    """How a loop is started; a peer names the folder of its lock and its program, and its package."""

    title: str
    program: tuple[str, ...]
    peer: str = ""
    package: str = ""
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def lock(self) -> Path:
        return PEERS / self.peer / "requirements.txt"

    @property
    def label(self) -> str:
        return f"{self.title} {locked(self.lock, self.package)}" if self.peer else self.title

    def python(self, bench: Path) -> Path:
        """A peer finds torch and the library behind what is its own. Raises Unavailable."""
        if not self.peer:
            return Path(sys.executable)
        folder = bench / self.peer
        python = environment(folder, self.lock)
        places = [next((Path(sys.prefix) / "lib").glob("python3*")) / "site-packages"]
        link = next((folder / "lib").glob("python3*")) / "site-packages" / LINK
        link.write_text("".join(f"{place}{os.linesep}" for place in places))
        return python


LOOPS = (
    Loop(BARE, ("-m", "benchmarks.training.bare")),
    Loop(OURS, ("-m", "benchmarks.training.ours"), settings=KEEPS_MEMORY),
    Loop(BARE_KEEPING, ("-m", "benchmarks.training.bare"), settings=KEEPS_MEMORY),
    Loop("MLflow", (str(PEERS / "mlflow" / "loop.py"),), "mlflow", "mlflow", {"GIT_PYTHON_REFRESH": "quiet"}),
    Loop(
        "Ray Train",
        (str(PEERS / "ray_train" / "loop.py"),),
        "ray_train",
        "ray",
        {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1"},
    ),
)
