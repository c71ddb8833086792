"""Wheels of others, built and installed without the network."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "library_member"


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def build(project: Path, wheels: Path) -> Path:
    """The wheel of a project; built on a copy, because a build leaves its traces beside the code."""
    copy = shutil.copytree(project, wheels / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", wheels, copy)
    return next(wheels.glob("*.whl"))
