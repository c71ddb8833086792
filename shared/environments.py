"""Virtual environments of what a benchmark compares with, or draws by: made on demand, each from a lock of its own."""

import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

INSTALL_SECONDS = 900
STAMP = "installed.sha256"


class Unavailable(Exception):
    """A part of a benchmark cannot be had here; the message is one line that says why."""


def environment(folder: Path, lock: Path) -> Path:
    """The Python of this folder with exactly what the lock names; anew where it is not so yet. Raises Unavailable."""
    python, stamp, wanted = folder / "bin" / "python", folder / STAMP, fingerprint(folder, lock)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    try:
        venv.create(folder, clear=True, with_pip=True, symlinks=True)
        _install(python, lock)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"its environment could not be made: {reason(error)}") from error
    stamp.write_text(wanted)
    return python


def fingerprint(folder: Path, lock: Path) -> str:
    """What must be unchanged for an environment to be still good: lock, interpreter, place."""
    return sha256(b"\0".join((lock.read_bytes(), sys.version.encode(), str(folder).encode()))).hexdigest()


def locked(lock: Path, package: str) -> str:
    """The version of a package in a lock of lines `name==version`."""
    found = [line.partition("==")[2] for line in lock.read_text().split() if line.startswith(f"{package}==")]
    if len(found) != 1:
        raise ValueError(f"{lock} names {package} {len(found)} times")
    return found[0]


def reason(error: Exception) -> str:
    """One line: the last one that a program said, which names what failed."""
    said = getattr(error, "stderr", None) or getattr(error, "output", None) or b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else str(error)


def _install(python: Path, lock: Path) -> None:
    """Only what wheels provide, and nothing that the lock does not name."""
    command = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary=:all:", "--no-deps", "-r", str(lock)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS)
