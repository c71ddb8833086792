"""Installs the locked packages into .venv and .venv-triton; does nothing when the locks have not changed.

Standard library only: it runs before anything is installed. An interrupted installation is done again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / ".venv"
TRITON = ROOT / ".venv-triton"
MAIN_LOCK = ROOT / "requirements.lock"
TRITON_LOCK = ROOT / "deploy" / "triton" / "requirements.lock"
STAMP = MAIN / "installed.sha256"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
TRITON_SERVER = TRITON / "lib" / f"python{VERSION}" / "site-packages" / "pytriton" / "tritonserver"
SERVER = TRITON_SERVER / "bin" / "tritonserver"
STUB = TRITON_SERVER / "backends" / "python" / "triton_python_backend_stub"
HEARTBEAT_SECONDS = 10
CHECK_MAIN = "import asyncpg, faststream, nats, numpy, onnxruntime, pydantic, supervisor, torch, uvicorn"
CHECK_TRITON = "import numpy, onnxruntime; assert numpy.__version__.startswith('1.')"


class InstallError(Exception):
    """The installation did not succeed."""


def fingerprint() -> str:
    """What must be unchanged for an installation to be still good: locks, this script, interpreter, place."""
    parts = [path.read_bytes() for path in (MAIN_LOCK, TRITON_LOCK, Path(__file__))]
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


def install_main() -> None:
    pip(MAIN, "-r", str(MAIN_LOCK))


def install_triton() -> None:
    """Without dependencies: of nvidia-pytriton only the server binary is used, and the rest is in the lock."""
    if not (TRITON / "bin" / "python").exists():
        venv.create(TRITON, clear=True, with_pip=True, symlinks=True)
    pip(TRITON, "--no-deps", "-r", str(TRITON_LOCK))


def place_stub() -> None:
    """Triton looks for its stub beside the Python backend; the wheel keeps one for each Python version."""
    draft = STUB.with_suffix(".draft")
    shutil.copy2(TRITON_SERVER / "python_backend_stubs" / VERSION / STUB.name, draft)
    for path in (draft, SERVER):
        path.chmod(0o755)
    draft.replace(STUB)


def missing_libraries(binary: Path) -> list[str]:
    libraries = str(sysconfig.get_config_var("LIBDIR"))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    listed = subprocess.run(["ldd", str(binary)], check=True, env=environment, capture_output=True, text=True)  # noqa: S607
    return [line.split()[0] for line in listed.stdout.splitlines() if "not found" in line]


def verify() -> None:
    for environment, check in ((MAIN, CHECK_MAIN), (TRITON, CHECK_TRITON)):
        run([str(environment / "bin" / "python"), "-c", check], f"{environment.name} cannot be imported from")
    missing = sorted({*missing_libraries(SERVER), *missing_libraries(STUB)})
    if missing:
        raise InstallError(
            f"Triton needs {', '.join(missing)}, which this machine lacks. For libpython use a Python {VERSION} "
            f"built with its shared library (a package named libpython{VERSION}, or --enable-shared)."
        )


STEPS = {
    "packages of the platform into .venv": install_main,
    "packages of Triton into .venv-triton": install_triton,
    "Triton's Python stub": place_stub,
    "check": verify,
}


def install() -> None:
    """All steps, unless another installation has just done them."""
    if installed():
        return
    STAMP.unlink(missing_ok=True)
    begun = time.monotonic()
    for number, (name, step) in enumerate(STEPS.items(), start=1):
        elapsed = time.monotonic() - begun
        print(f"install {number}/{len(STEPS)} {name} ... (after {elapsed:.0f} s)", flush=True)
        step()
    STAMP.write_text(fingerprint())
    print(f"install done in {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    if installed():
        return
    try:
        with (MAIN / "install.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            install()
    except InstallError as error:
        sys.exit(f"install failed: {error}")


if __name__ == "__main__":
    main()
