"""What work on a file of somebody else's may take of the machine."""

import resource
import signal
from typing import Final

from shared.tables.values import Unfit

LATE_SECONDS: Final = 30


TOO_LONG: Final = "reading this file takes more than {} s: split it, or send it as .npz"


def restrict(memory: int, cpu_seconds: int, too_long: str = TOO_LONG) -> None:
    """From now on more bytes of memory raise MemoryError in this process, more processor time Unfit in these words."""

    def late(*_: object) -> None:
        raise Unfit(too_long.format(cpu_seconds))

    signal.signal(signal.SIGXCPU, late)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + LATE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
