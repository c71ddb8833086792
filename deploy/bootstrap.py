"""Makes the checkout's own environment with just in it, whole, whatever killed an earlier attempt.

Standard library only; started by justw with a Python that can make environments.
"""

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

from deploy.machine import UnfitMachine, check_space, check_this_platform, check_writable, python_library_folder

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / ".venv"
PYTHON = MAIN / "bin" / "python"
JUST = MAIN / "bin" / "just"
UNFINISHED = ROOT / ".venv.unfinished"
LOCK = ROOT / ".venv.lock"
JUST_VERSION = "1.59.0"
SPACE = 64 * 1024**2
ELSEWHERE = "copy the checkout to a place of your own"


def says(command: list[str]) -> str | None:
    """What a command prints; None when it fails or is not there."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def has_environment() -> bool:
    code = "import sys, pip; print(*sys.version_info[:2], sep='.')"
    return not UNFINISHED.exists() and says([str(PYTHON), "-c", code]) == "3.11"


def has_just() -> bool:
    return says([str(JUST), "--version"]) == f"just {JUST_VERSION}"


def check_machine() -> None:
    check_this_platform()
    python_library_folder()
    check_writable(ROOT, ELSEWHERE)
    check_space(ROOT, SPACE, "The environment")


def make_environment() -> None:
    print("justw: making .venv", flush=True)
    UNFINISHED.touch()
    try:
        venv.create(MAIN, clear=True, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnfitMachine(f".venv could not be made: {error}") from error
    UNFINISHED.unlink()


def install_just() -> None:
    """Anew: a killed pip may have left half of it, which the next one takes for whole."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--no-deps", "--force-reinstall", f"rust-just=={JUST_VERSION}"]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        raise UnfitMachine("pip could not install just: its lines above say why.")
    if not has_just():
        raise UnfitMachine(f"{JUST} does not run here: is this a file system without programs (noexec)?")


def make() -> None:
    """Make what is missing, one process at a time; the lock goes with its process."""
    check_machine()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_environment():
            make_environment()
        if not has_just():
            install_just()


def main() -> None:
    if has_environment() and has_just():
        return
    try:
        make()
    except UnfitMachine as problem:
        sys.exit(f"justw: {problem}")


if __name__ == "__main__":
    main()
