"""Free ports on loopback, below the ephemeral range so that no outgoing connection can take one meanwhile."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST = 12000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(taken: set[int]) -> int:
    """A free port that is not in `taken`; it is added there."""
    highest = int(EPHEMERAL.read_text().split()[0]) - 1 if EPHEMERAL.exists() else 32767
    candidates = [port for port in range(LOWEST, max(highest, LOWEST + 10000)) if port not in taken]
    for port in random.sample(candidates, k=200):
        if is_free(port):
            taken.add(port)
            return port
    raise OSError("No free port was found on loopback.")


def preferred_or_free(port: int, taken: set[int]) -> int:
    if port in taken or not is_free(port):
        return free_port(taken)
    taken.add(port)
    return port
