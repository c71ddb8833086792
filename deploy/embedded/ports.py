"""Free ports on loopback, below the ephemeral range so that no outgoing connection can take one meanwhile.

A port is reserved from its choice until this process and its heirs end, so that no two of ours choose the same.
"""

import fcntl
import os
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from deploy.embedded.folders import short_folder

LOOPBACK = "127.0.0.1"
LOWEST = 12000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED: dict[int, int] = {}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def reserve(port: int) -> bool:
    """Whether the port is ours now: free, and reserved by no other process of this user."""
    if port not in RESERVED:
        lock = os.open(short_folder("ports") / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        RESERVED[port] = lock
    return is_free(port)


def reservations(ports: Iterable[int]) -> list[int]:
    """Descriptors of our locks on these ports: whoever inherits them goes on reserving."""
    return [RESERVED[port] for port in ports if port in RESERVED]


def free_port() -> int:
    """A free port that was never given before by this process."""
    highest = int(EPHEMERAL.read_text().split()[0]) - 1 if EPHEMERAL.exists() else 32767
    candidates = [port for port in range(LOWEST, max(highest, LOWEST + 10000)) if port not in RESERVED]
    for port in random.sample(candidates, k=200):
        if reserve(port):
            return port
    raise OSError("No free port was found on loopback.")


def preferred_or_free(port: int | None) -> int:
    return port if port is not None and reserve(port) else free_port()
