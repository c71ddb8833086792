"""Has the kernel kill a model's stub process when its Triton ends: a stub that hangs would outlive it for ever.

Installed into .venv-triton, where the stub's interpreter imports it at its start. Nobody but Triton keeps the
writing end of the lifeline.
"""

import fcntl
import os
import signal

LIFELINE = "AIMASS_LIFELINE"


def follow(reading: int, writing: int) -> None:
    """Ask for SIGKILL when the pipe's last writing end closes; an own description keeps stubs apart."""
    os.close(writing)
    own = os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(reading)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    if has_ended(own):
        os.kill(os.getpid(), signal.SIGKILL)


def has_ended(lifeline: int) -> bool:
    try:
        return os.read(lifeline, 1) == b""
    except BlockingIOError:
        return False


if LIFELINE in os.environ:
    follow(*map(int, os.environ.pop(LIFELINE).split(":")))
