"""What a stack takes that does nothing, by process: python -m benchmarks.idle [--seconds 60]."""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import processor
from deploy.embedded.stack import Stack
from shared.streams import SERVICES

SETTLE_SECONDS = 60.0
SERVERS = ("nats", "postgres")
# At rest they do hardly more than relay, hear and be asked, as all services do.
PLAIN = ("auth", "registry")


def main() -> None:
    parser = argparse.ArgumentParser(prog="just bench-idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for so long it is watched")
    seconds = parser.parse_args().seconds
    stack = Stack(Path(tempfile.mkdtemp(prefix="aimass-idle-")))
    try:
        stack.up()
        time.sleep(SETTLE_SECONDS)
        pids = {name: pid for name, pid in stack.info["processes"].items() if psutil.pid_exists(pid)}
        Console().print(table(shares(pids, seconds)))
    finally:
        stack.down()


def shares(pids: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Percent of a core of each process with its children, the process manager among them."""
    manager = psutil.Process(pids[processor.MANAGER])
    before, own = processor.seconds(pids), sum(manager.cpu_times()[:2])
    time.sleep(seconds)
    after = processor.seconds(pids)
    found = {name: 100 * (after[name] - before[name]) / seconds for name in after}
    return found | {processor.MANAGER: 100 * (sum(manager.cpu_times()[:2]) - own) / seconds}


def table(found: Mapping[str, float]) -> Table:
    """With the sum of all, and of what the event plane can have taken at most."""
    shown = Table("process", "% of a core")
    for name, share in sorted(found.items(), key=lambda item: -item[1]):
        shown.add_row(name, f"{share:.2f}")
    shown.add_row("all", f"{sum(found.values()):.2f}", style="bold")
    shown.add_row("event plane, at most", f"{event_plane(found):.2f}", style="bold")
    return shown


def event_plane(found: Mapping[str, float]) -> float:
    """NATS and PostgreSQL whole, and of each service no more than a plain one takes whole."""
    plain = max(found[name] for name in PLAIN)
    services = sum(min(found[name], plain) for name in SERVICES if name in found)
    return services + sum(found[name] for name in SERVERS)


if __name__ == "__main__":
    main()
