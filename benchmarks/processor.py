"""Processor time of the stack's processes, from the kernel's accounting: steadier than rates on a busy machine."""

from collections.abc import Mapping
from contextlib import suppress

import psutil

MANAGER = "supervisord"


def seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """What each part has used until now, with the processes that it has started."""
    found = {}
    for name, pid in processes.items():
        if name != MANAGER:
            with suppress(psutil.NoSuchProcess):
                found[name] = _of_tree(psutil.Process(pid))
    return found


def _of_tree(process: psutil.Process) -> float:
    """Those that live, and what they know of their children that have ended: so it never falls."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def spent(before: Mapping[str, float], after: Mapping[str, float], requests: float) -> dict[str, float]:
    """Microseconds of each part for a request, the largest first."""
    used = {name: 1e6 * (after[name] - before[name]) / requests for name in after if name in before}
    return dict(sorted(used.items(), key=lambda item: -item[1]))
