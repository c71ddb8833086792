"""Processes by pid and start time, so that a pid given to somebody else since is never mistaken for ours."""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def identity(pid: int) -> str | None:
    """What tells this process from every other that has had or will have its pid; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else f"{BOOT_ID.read_text().strip()}:{pid}:{fields[19]}"


def pid_of(recorded: str) -> int:
    return int(recorded.split(":")[1])


def is_alive(recorded: str) -> bool:
    return identity(pid_of(recorded)) == recorded


def kill_all(recorded: Mapping[str, str], seconds: float = 10.0) -> list[str]:
    """Kill those that still live, with their descendants; the names of those that lived."""
    living = {name: mark for name, mark in recorded.items() if is_alive(mark)}
    victims = {pid: identity(pid) for mark in living.values() for pid in family(pid_of(mark))}
    for pid in victims:
        kill(pid)
    deadline = time.monotonic() + seconds
    while any(mark and is_alive(mark) for mark in victims.values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return sorted(living)


def family(pid: int) -> list[int]:
    """The process and all that descend from it, the oldest first."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def memory(pids: Iterable[int]) -> int:
    """Proportional set size of these processes together, in bytes."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def age(pid: int) -> float:
    """Seconds since the process started."""
    return max(0.0, time.time() - psutil.Process(pid).create_time())


def listens(pid: int, port: int) -> bool:
    """Whether this process itself listens on the port."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)
