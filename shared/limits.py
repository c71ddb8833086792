"""What a process that works on somebody else's file may take of the machine."""

import resource
import signal
from typing import Final

from shared.isolation import isolate

LATE_SECONDS: Final = 30


def restrict(memory: int, cpu_seconds: int, late: Exception) -> None:
    """From now on more bytes of memory raise MemoryError in this process, more processor time what is given.

    It reaches no network either, and starts no program.
    """

    def raise_late(*_: object) -> None:
        raise late

    signal.signal(signal.SIGXCPU, raise_late)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + LATE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    isolate()
