"""One command to run: its arguments, environment and folder, handed to child.py in a private file."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shared.tasks.process import FETCHING

CHILD = Path(__file__).with_name("child.py")
PASSED_ON = {
    "AIMASS_TASK_NICENESS",
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    *FETCHING,
}
ALWAYS = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUTF8": "1"}
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_", "TRAINER_RAY_")


@dataclass(frozen=True)
class Launch:
    """Everything that child.py needs to become a command."""

    argv: list[str]
    folder: str
    environment: dict[str, str] = field(default_factory=dict)
    user_namespace: bool = False
    lifeline: bool = False
    listens: bool = False
    shared_memory_prefix: str | None = None
    postgres_data: str | None = None
    start_marker: str | None = None
    least_seconds_between_starts: float = 1.0

    def write(self, path: Path) -> list[str]:
        """Write the launch file and return the command line that runs it."""
        write_private(path, json.dumps(asdict(self), indent=1))
        return [sys.executable, "-I", "-S", "-X", "utf8", str(CHILD), str(path)]


def base_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without anything that is not known to be harmless and needed."""
    kept = {key: value for key, value in os.environ.items() if passed_on(key)}
    return {**kept, **ALWAYS, **(extra or {})}


def passed_on(key: str) -> bool:
    return key in PASSED_ON or key.startswith(PASSED_ON_PREFIXES)


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
