"""What reading a file of somebody else's may take of the machine."""

import resource
import signal
from typing import Final

from shared.tables.values import Unfit

LATE_SECONDS: Final = 30


def restrict(memory: int, cpu_seconds: int) -> None:
    """From now on more bytes of memory raise MemoryError in this process, more processor time Unfit."""

    def late(*_: object) -> None:
        raise Unfit(f"reading this file takes more than {cpu_seconds} s: split it, or send it as .npz")

    signal.signal(signal.SIGXCPU, late)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + LATE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
