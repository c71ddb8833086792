"""What a machine and a place must offer before anything is installed or started; standard library only.

Each check raises UnfitMachine with the one line that its reader needs.
"""

import os
import platform
import pwd
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

GIB = 1024**3
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON_LIBRARY = f"libpython{VERSION}.so.1.0"
LEAST_GLIBC = (2, 35)  # the platform tag of Triton's wheel


class UnfitMachine(Exception):
    """This machine or this place cannot carry the platform."""


def glibc_version() -> tuple[int, int] | None:
    """None where the C library is another one."""
    try:
        major, minor, *_ = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ").split(".")
    except (OSError, ValueError):
        return None
    return int(major), int(minor)


def check_platform(system: str, processor: str, glibc: tuple[int, int] | None) -> None:
    """Triton is a wheel of binaries for one kind of machine."""
    needed = f"Linux on x86_64 with glibc {'.'.join(map(str, LEAST_GLIBC))} or newer is needed, for Triton's wheel"
    if (system, processor) != ("Linux", "x86_64"):
        raise UnfitMachine(f"{needed}; this is {system} on {processor}.")
    if glibc is None:
        raise UnfitMachine(f"{needed}; the C library here is another one, such as musl (Alpine).")
    if glibc < LEAST_GLIBC:
        raise UnfitMachine(
            f"{needed}; here it is {'.'.join(map(str, glibc))} (Debian 12 and Ubuntu 22.04 have a newer one)."
        )


def check_this_platform() -> None:
    check_platform(platform.system(), platform.machine(), glibc_version())


def library_folders() -> list[Path]:
    """Where this interpreter's shared library may be: its own word first, then where a moved one has it."""
    configured, multiarch = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("MULTIARCH")
    told = [Path(configured), Path(configured) / (multiarch or "")] if configured else []
    return [*told, Path(sys.base_prefix) / "lib"]


def python_library_folder(folders: Iterable[Path] | None = None, name: str = PYTHON_LIBRARY) -> Path:
    """The folder of the shared library that Triton's Python stub is linked with."""
    for folder in library_folders() if folders is None else folders:
        if (folder / name).exists():
            return folder
    raise UnfitMachine(
        f"Triton needs {name}, which this Python does not bring (it is linked statically): install it "
        f"(Debian and Ubuntu: apt install libpython{VERSION}), or use a Python built with --enable-shared."
    )


def check_space(place: Path, needed: int, purpose: str) -> None:
    """Refuse before a disk fills up rather than when it is full."""
    there = nearest_existing(place)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UnfitMachine(
            f"{purpose} needs {needed / GIB:.1f} GiB of free disk at {place}; {free / GIB:.1f} GiB are free."
        )


def check_writable(place: Path, advice: str) -> None:
    """The place, or where it is to be made, must be a folder that we may write to."""
    there = nearest_existing(place)
    if not there.is_dir():
        raise UnfitMachine(f"{there} is not a folder: {advice}.")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        raise UnfitMachine(f"{there} cannot be written to: {advice}.")


def check_ours(place: Path, advice: str) -> None:
    """What belongs to somebody else would be left half theirs and half ours."""
    if place.exists() and place.stat().st_uid != os.geteuid():
        raise UnfitMachine(
            f"{place} belongs to {user_name(place.stat().st_uid)}, not to {user_name(os.geteuid())}: {advice}."
        )


def nearest_existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.absolute().parents) if os.path.lexists(folder))


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
