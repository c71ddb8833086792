"""Becomes the command of a launch file, bound to die with its parent; standard library only, run with -I -S.

Usage: child.py LAUNCH.json, written by launch.Launch. Signals, pid and standard streams stay the command's own.
"""

import ctypes
import json
import os
import pwd
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
INNER_USER = "nobody"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, doing: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{doing}: {os.strerror(ctypes.get_errno())}")


def enter_user_namespace() -> None:
    """Look like an ordinary, known user to PostgreSQL, which wants one, and keep our own rights to files."""
    inner, outer_user, outer_group = pwd.getpwnam(INNER_USER), os.geteuid(), os.getegid()
    try:
        check(LIBC.unshare(CLONE_NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{inner.pw_uid} {outer_user} 1")
        Path("/proc/self/gid_map").write_text(f"{inner.pw_gid} {outer_group} 1")
    except OSError as error:
        sys.exit(
            f"PostgreSQL runs neither as root nor as an unknown user, and no user namespace can be made here "
            f"({error}): run as an ordinary user, or allow user namespaces (sysctl user.max_user_namespaces, "
            "and in a container its seccomp profile)."
        )


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's death; changed credentials clear this, so it comes last."""
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        sys.exit("The parent has gone.")


def wait_since_last_start(marker: Path, least: float) -> None:
    """Keep a crash loop to one start every `least` seconds; a first crash is restarted at once."""
    if marker.exists():
        elapsed = time.time() - marker.stat().st_mtime
        time.sleep(min(least, max(0.0, least - elapsed)))
    marker.touch()


def sweep_shared_memory(prefix: str) -> None:
    """Remove the shared-memory files that a killed predecessor left behind."""
    for path in SHARED_MEMORY.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def drop_stale_lock(data: Path) -> None:
    """Remove postmaster.pid when its pid now belongs to something else, as after a reboot."""
    lock = data / "postmaster.pid"
    try:
        working_folder = Path(f"/proc/{int(lock.read_text().split()[0])}/cwd").resolve(strict=True)
    except (FileNotFoundError, IndexError, ValueError):
        working_folder = None
    if working_folder != data.resolve():
        lock.unlink(missing_ok=True)


def open_lifeline(environment: dict[str, str]) -> None:
    """A pipe that the command and its children inherit, by which the children notice its end."""
    ends = os.pipe()
    for end in ends:
        os.set_inheritable(end, True)
    environment["AIMASS_LIFELINE"] = f"{ends[0]}:{ends[1]}"


def hand_on_listener(launch: dict[str, Any]) -> None:
    """The socket that the process manager holds for the gateway is nobody else's."""
    if (number := os.environ.get("AIMASS_LISTENING")) is None:
        return
    if launch["listens"]:
        launch["environment"]["GATEWAY_LISTENER"] = number
    else:
        os.close(int(number))


def prepare(launch: dict[str, Any]) -> None:
    hand_on_listener(launch)
    if launch["start_marker"]:
        wait_since_last_start(Path(launch["start_marker"]), launch["least_seconds_between_starts"])
    if launch["shared_memory_prefix"]:
        sweep_shared_memory(launch["shared_memory_prefix"])
    if launch["postgres_data"]:
        drop_stale_lock(Path(launch["postgres_data"]))
    if launch["lifeline"]:
        open_lifeline(launch["environment"])
    if launch["user_namespace"]:
        enter_user_namespace()


def main() -> None:
    parent = os.getppid()
    launch = json.loads(Path(sys.argv[1]).read_text())
    os.umask(0o077)
    prepare(launch)
    os.chdir(launch["folder"])
    die_with_parent(parent)
    os.execve(launch["argv"][0], launch["argv"], launch["environment"])  # noqa: S606


if __name__ == "__main__":
    main()
