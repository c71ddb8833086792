"""What the process of a task takes of the machine with all that it has started, and of GPUs where there are some."""

import time
from datetime import datetime
from functools import cache
from typing import Any

import psutil
import pynvml

from shared import observe
from shared.worker import Points, Series

SAMPLE_SECONDS = 5.0
PREFIX = "system/"
LEVELS = ("memory", "threads")


class ProcessSampler:
    """Figures of processes, to which others may be added, and their descendants; rates are since the sample before."""

    def __init__(self, pid: int) -> None:
        self.pids = [pid]
        self._at = time.monotonic()
        self._before: dict[str, float] = {}

    def sample(self) -> dict[str, float]:
        """By name; nothing once a process has ended. CPU is in cores, memory in bytes, I/O in bytes a second."""
        pids = [*self.pids]
        try:
            roots = [psutil.Process(pid) for pid in pids]
            found = [_figures(process) for root in roots for process in (root, *root.children(recursive=True))]
        except psutil.Error:
            return {}
        totals = {name: sum(figures.get(name, 0.0) for figures in found) for name in found[0]}
        return {PREFIX + name: value for name, value in (self._rates(totals) | _gpu(pids)).items()}

    def _rates(self, totals: dict[str, float]) -> dict[str, float]:
        """Of what only grows, its growth; a descendant that has ended takes its share along."""
        now = time.monotonic()
        seconds, before = max(now - self._at, 1e-3), self._before
        self._at, self._before = now, totals
        levels = {name: totals.pop(name) for name in LEVELS}
        grown = {name: max(0.0, value - before.get(name, value)) / seconds for name, value in totals.items()}
        return levels | (grown if before else {})


def as_points(figures: dict[str, float], started: datetime | None) -> Points:
    """Figures of now; the steps of these series are seconds since the task was started first."""
    now = time.time()
    step = max(0, int(now - started.timestamp())) if started else 0
    return Points(series={name: Series(steps=[step], times=[now], values=[value]) for name, value in figures.items()})


def _figures(process: psutil.Process) -> dict[str, float]:
    with process.oneshot():
        times = process.cpu_times()
        figures = {
            "memory": float(process.memory_info().rss),
            "threads": float(process.num_threads()),
            "cpu": times.user + times.system,
        }
        return figures | _io(process)


def _io(process: psutil.Process) -> dict[str, float]:
    """What went through the calls of the system, from the page cache too; a kernel may keep it to itself."""
    try:
        counters = process.io_counters()
    except psutil.AccessDenied:
        return {}
    return {"io_read": float(counters.read_chars), "io_write": float(counters.write_chars)}


def _gpu(pids: list[int]) -> dict[str, float]:
    """Memory of all GPUs that the processes have, and how busy those are."""
    figures: dict[str, float] = {}
    for handle in _handles():
        try:
            running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            held = [float(process.usedGpuMemory or 0) for process in running if process.pid in pids]
            if held:
                figures["gpu_memory"] = figures.get("gpu_memory", 0.0) + sum(held)
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
                figures["gpu"] = figures.get("gpu", 0.0) + busy
        except pynvml.NVMLError as error:
            observe.log().debug("GPU does not tell", error=str(error))
    return figures


@cache
def _handles() -> list[Any]:
    """The GPUs of this host; a host without the driver has none."""
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
