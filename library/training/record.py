"""What a training ran on: versions, the lock of the environment, and the machine."""

import os
import platform
import re
from functools import cache
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from shared.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
CPUINFO = Path("/proc/cpuinfo")


@cache
def record() -> dict[str, Any]:
    """All that may make the same training come out otherwise, beside its plan."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "platform_version": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "environment": environment(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def environment() -> str:
    """The digest of the lock that this checkout was installed from; without one, of all that is installed."""
    if LOCK.exists():
        return sha256(LOCK.read_bytes()).hexdigest()
    installed = sorted({f"{found.name}=={found.version}" for found in distributions()})
    return sha256("\n".join(installed).encode()).hexdigest()


def processor() -> str:
    """The model's name, as the kernel knows it."""
    told = CPUINFO.read_text() if CPUINFO.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
