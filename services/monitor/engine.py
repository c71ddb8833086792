"""The host that all this runs on: its load is sampled in a loop and kept in memory, for answers and for Prometheus."""

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
from prometheus_client import Gauge

from services.monitor.gpu import Gpus
from shared.rpc.monitor import HostMetrics

FIGURES = {
    "cpu_percent": Gauge("aimass_host_cpu_percent", "CPU of the host in use, of all cores"),
    "memory_used": Gauge("aimass_host_memory_used_bytes", "Memory of the host that is not available to new processes"),
    "memory_total": Gauge("aimass_host_memory_total_bytes", "Memory of the host"),
    "load_1m": Gauge("aimass_host_load_1m", "Processes that ran or waited, averaged over a minute"),
    "disk_used": Gauge("aimass_host_disk_used_bytes", "Disk in use, of the file system of monitor's home"),
    "disk_total": Gauge("aimass_host_disk_total_bytes", "Size of the file system of monitor's home"),
    "disk_read_per_second": Gauge("aimass_host_disk_read_bytes_per_second", "Read from the host's disks"),
    "disk_written_per_second": Gauge("aimass_host_disk_written_bytes_per_second", "Written to the host's disks"),
    "network_received_per_second": Gauge(
        "aimass_host_network_received_bytes_per_second", "Received by the host, loopback left out"
    ),
    "network_sent_per_second": Gauge(
        "aimass_host_network_sent_bytes_per_second", "Sent by the host, loopback left out"
    ),
}
GPU_FIGURES = {
    "utilization_percent": Gauge("aimass_host_gpu_percent", "GPU in use", ["gpu"]),
    "memory_used": Gauge("aimass_host_gpu_memory_used_bytes", "Memory of the GPU in use", ["gpu"]),
    "memory_total": Gauge("aimass_host_gpu_memory_total_bytes", "Memory of the GPU", ["gpu"]),
    "temperature_celsius": Gauge("aimass_host_gpu_temperature_celsius", "Temperature of the GPU", ["gpu"]),
}


class Transfers(NamedTuple):
    """Bytes moved since the host started."""

    at: float
    disk_read: int
    disk_written: int
    network_received: int
    network_sent: int


class Host:
    """What was last seen of the host; CPU and transfers are means since the sample before."""

    def __init__(self, seconds: float, folder: Path = Path()) -> None:
        self._seconds, self._folder = seconds, folder
        self._gpus = Gpus()
        psutil.cpu_percent()
        self._transfers = _transfers()
        self.metrics = self._sample()

    async def run(self) -> None:
        while True:
            self.metrics = self._sample()
            _publish(self.metrics)
            await asyncio.sleep(self._seconds)

    def _sample(self) -> HostMetrics:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
        before, self._transfers = self._transfers, _transfers()
        load_1m, load_5m, load_15m = os.getloadavg()
        return HostMetrics(
            cpu_percent=psutil.cpu_percent(),
            cpu_count=psutil.cpu_count() or 1,
            memory_total=memory.total,
            memory_used=memory.total - memory.available,
            load_1m=load_1m,
            load_5m=load_5m,
            load_15m=load_15m,
            disk_total=disk.total,
            disk_used=disk.used,
            **rates(before, self._transfers),
            gpus=self._gpus.sample(),
            at=datetime.now(UTC),
        )


def rates(before: Transfers, now: Transfers) -> dict[str, float]:
    """Bytes a second by name; a counter that was set back counts as still."""
    seconds = max(now.at - before.at, 0.001)
    return {
        f"{name}_per_second": max(0, getattr(now, name) - getattr(before, name)) / seconds
        for name in Transfers._fields
        if name != "at"
    }


def _transfers() -> Transfers:
    """A container may see no disks at all."""
    disk = psutil.disk_io_counters()
    network = [each for name, each in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    return Transfers(
        at=time.monotonic(),
        disk_read=disk.read_bytes if disk else 0,
        disk_written=disk.write_bytes if disk else 0,
        network_received=sum(each.bytes_recv for each in network),
        network_sent=sum(each.bytes_sent for each in network),
    )


def _publish(metrics: HostMetrics) -> None:
    for name, gauge in FIGURES.items():
        gauge.set(getattr(metrics, name))
    for gpu in metrics.gpus:
        for name, gauge in GPU_FIGURES.items():
            if (value := getattr(gpu, name)) is not None:
                gauge.labels(f"{gpu.number} {gpu.name}").set(value)
