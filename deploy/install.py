"""Installs the locked packages into .venv and .venv-triton; does nothing when the locks have not changed.

Standard library only: it runs before anything is installed. An interrupted installation is done again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deploy.bootstrap import ELSEWHERE
from deploy.machine import (
    GIB,
    VERSION,
    UnfitMachine,
    check_space,
    check_this_platform,
    check_writable,
    python_library_folder,
)

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / ".venv"
TRITON = ROOT / ".venv-triton"
MAIN_LOCK = ROOT / "requirements.lock"
TRITON_LOCK = ROOT / "deploy" / "triton" / "requirements.lock"
LIFELINE = ROOT / "deploy" / "triton" / "sitecustomize.py"
STAMP = MAIN / "installed.sha256"
UNFINISHED = MAIN / "install.unfinished"
TRITON_PACKAGES = TRITON / "lib" / f"python{VERSION}" / "site-packages"
TRITON_SERVER = TRITON_PACKAGES / "pytriton" / "tritonserver"
SERVER = TRITON_SERVER / "bin" / "tritonserver"
STUB = TRITON_SERVER / "backends" / "python" / "triton_python_backend_stub"
HEARTBEAT_SECONDS = 10
SPACE = 4 * GIB
DOWNLOAD_SPACE = 1 * GIB
CHECK_MAIN = "import asyncpg, faststream, nats, numpy, onnxruntime, pydantic, supervisor, torch, uvicorn"
CHECK_TRITON = "import numpy, onnxruntime; assert numpy.__version__.startswith('1.')"


class InstallError(Exception):
    """The installation did not succeed."""


def fingerprint() -> str:
    """What must be unchanged for an installation to be still good: locks, this script, interpreter, place."""
    parts = [path.read_bytes() for path in (MAIN_LOCK, TRITON_LOCK, LIFELINE, Path(__file__))]
    parts += [sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed() -> bool:
    return STAMP.exists() and STAMP.read_text() == fingerprint() and (TRITON / "bin" / "python").exists()


def run(command: list[str], failure: str) -> None:
    """Run a command and show that time passes."""
    process, begun = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL), time.monotonic()
    while True:
        try:
            status = process.wait(HEARTBEAT_SECONDS)
            break
        except subprocess.TimeoutExpired:
            print(f"    ... {time.monotonic() - begun:.0f} s", flush=True)
    if status != 0:
        raise InstallError(f"{failure} (exit status {status})")


def pip(environment: Path, *arguments: str) -> None:
    """Only what a wheel provides is installed, so that nothing is compiled or run at installation."""
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", *arguments]
    run(command, f"pip could not install into {environment.name}")


def install_main(anew: bool) -> None:
    pip(MAIN, *(["--force-reinstall"] if anew else []), "-r", str(MAIN_LOCK))


def install_triton(anew: bool) -> None:
    """Without dependencies: of nvidia-pytriton only the server binary is used, and the rest is in the lock."""
    if anew or not (TRITON / "bin" / "python").exists():
        venv.create(TRITON, clear=True, with_pip=True, symlinks=True)
    pip(TRITON, "--no-deps", "-r", str(TRITON_LOCK))


def place_stub() -> None:
    """Triton looks for its stub beside the Python backend; the wheel keeps one for each Python version."""
    shutil.copy2(LIFELINE, TRITON_PACKAGES)
    draft = STUB.with_suffix(".draft")
    shutil.copy2(TRITON_SERVER / "python_backend_stubs" / VERSION / STUB.name, draft)
    for path in (draft, SERVER):
        path.chmod(0o755)
    draft.replace(STUB)


def missing_libraries(binary: Path) -> list[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(python_library_folder())}
    listed = subprocess.run(["ldd", str(binary)], check=True, env=environment, capture_output=True, text=True)  # noqa: S607
    return [line.split()[0] for line in listed.stdout.splitlines() if "not found" in line]


def verify() -> None:
    for environment, check in ((MAIN, CHECK_MAIN), (TRITON, CHECK_TRITON)):
        run([str(environment / "bin" / "python"), "-c", check], f"{environment.name} cannot be imported from")
    missing = sorted({*missing_libraries(SERVER), *missing_libraries(STUB)})
    if missing:
        raise InstallError(f"Triton needs {', '.join(missing)}, which this machine lacks.")


def check_machine() -> None:
    """What would fail late, refused before the first download; a new lock changes a few packages only."""
    check_this_platform()
    python_library_folder()
    check_writable(ROOT, ELSEWHERE)
    check_space(ROOT, DOWNLOAD_SPACE if STAMP.exists() else SPACE, "The installation")
    check_space(Path(tempfile.gettempdir()), DOWNLOAD_SPACE, "Downloading packages")


def install(anew: bool) -> None:
    STAMP.unlink(missing_ok=True)
    steps: dict[str, Callable[[], None]] = {
        "packages of the platform into .venv": partial(install_main, anew),
        "packages of Triton into .venv-triton": partial(install_triton, anew),
        "Triton's Python stub": place_stub,
        "check": verify,
    }
    begun = time.monotonic()
    for number, (name, step) in enumerate(steps.items(), start=1):
        print(f"install {number}/{len(steps)} {name} ... (after {time.monotonic() - begun:.0f} s)", flush=True)
        step()
    STAMP.write_text(fingerprint())
    print(f"install done in {time.monotonic() - begun:.0f} s", flush=True)


def install_once() -> str | None:
    """Install unless it has been done meanwhile; what went wrong, if anything.

    After one that did not end well all is done anew: it may have left half a package that pip takes for whole.
    """
    with (MAIN / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed():
            return None
        check_machine()
        anew = UNFINISHED.exists()
        UNFINISHED.touch()
        try:
            install(anew)
        except InstallError as error:
            return f"install failed: {error}"
        UNFINISHED.unlink()
    return None


def main() -> None:
    if installed():
        return
    try:
        check_writable(MAIN, ELSEWHERE)
        problem = install_once()
    except UnfitMachine as error:
        sys.exit(f"install refused: {error}")
    sys.exit(problem)


if __name__ == "__main__":
    main()
