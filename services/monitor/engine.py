"""The host that all this runs on: its load is sampled in a loop and kept in memory, for answers and for Prometheus."""

import asyncio
import os
from datetime import UTC, datetime

import psutil
from prometheus_client import Gauge

from shared.rpc.monitor import HostMetrics

CPU = Gauge("aimass_host_cpu_percent", "CPU in use, in percent of all cores")
MEMORY_USED = Gauge("aimass_host_memory_used_bytes", "Memory that is not available to new processes")
MEMORY_TOTAL = Gauge("aimass_host_memory_total_bytes", "Memory of the host")
LOAD = Gauge("aimass_host_load_1m", "Processes that ran or waited, averaged over a minute")


class Host:
    """What was last seen of the host; CPU is the mean since the sample before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        psutil.cpu_percent()
        self.metrics = _sample()

    async def run(self) -> None:
        while True:
            self.metrics = _sample()
            CPU.set(self.metrics.cpu_percent)
            MEMORY_USED.set(self.metrics.memory_used)
            MEMORY_TOTAL.set(self.metrics.memory_total)
            LOAD.set(self.metrics.load_1m)
            await asyncio.sleep(self._seconds)


def _sample() -> HostMetrics:
    memory = psutil.virtual_memory()
    return HostMetrics(
        cpu_percent=psutil.cpu_percent(),
        cpu_count=psutil.cpu_count() or 1,
        memory_total=memory.total,
        memory_used=memory.total - memory.available,
        load_1m=os.getloadavg()[0],
        at=datetime.now(UTC),
    )
