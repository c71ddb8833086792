"""The site of a mixed run: a stack with proxies before bus and database, small disks, and clocks to put wrong."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded import processes
from deploy.embedded.stack import Stack
from shared.streams import SERVICES
from tests.e2e.deferred import bring_model
from tests.faults.mixed import skew
from tests.faults.mixed.lines import Lines
from tests.house import House
from tests.integration.counted import _with_port

LEASE = {"LEASE_SECONDS": "3"}
OWN = {
    "trainer": LEASE,
    "evaluator": LEASE,
    "inference": {"NODE_LEASE_SECONDS": "3", "DEFERRED_LEASE_SECONDS": "3"},
}
DISKS = {"nats": 768, "artifacts": 768, "postgres": 2048}
BUS, DATABASE = "NATS_URL", "DATABASE_URL"


@dataclass
class Site:
    """`missing` says what cannot be done here, and why."""

    house: House
    lines: Lines
    failpoints: Path
    clocks: Path
    disks: dict[str, Path]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def stack(self) -> Stack:
        return self.house.stack

    def pid(self, part: str) -> int | None:
        """None between its crash and its restart."""
        return self.stack.manager.pids().get(part)


def signalled(mark: str | None, number: signal.Signals) -> None:
    """To this very process, if it still lives."""
    if mark and processes.is_alive(mark):
        with suppress(ProcessLookupError):
            os.kill(processes.pid_of(mark), number)


@contextmanager
def built(folder: Path) -> Iterator[Site]:
    """A stack on free ports in this folder, ready, with the model of the load."""
    failpoints, clocks, home = folder / "failpoints", folder / "clocks", folder / "home"
    for service in SERVICES:
        (failpoints / service).mkdir(parents=True, exist_ok=True)
    clocks.mkdir(exist_ok=True)
    missing: dict[str, str] = {}
    disks = _small_disks(home, missing)
    settings = {service: {"FAILPOINTS": str(failpoints / service), **OWN.get(service, {})} for service in SERVICES}
    stack = Stack(home, settings=settings)
    lines = None
    try:
        stack.up()
        house = House(stack)
        bring_model(house)
        lines = _through_proxies(stack, clocks, missing)
        yield Site(house, lines, failpoints, clocks, disks, missing)
    finally:
        stack.down()
        if lines:
            lines.close()
        for disk in disks.values():
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _small_disks(home: Path, missing: dict[str, str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, mib in DISKS.items():
        (disk := home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "none", str(disk)]
        if subprocess.run(command, capture_output=True).returncode == 0:
            found[name] = disk
        else:
            missing["full disk"] = "no file system of its own may be mounted here: run it as root"
    return found


def _through_proxies(stack: Stack, clocks: Path, missing: dict[str, str]) -> Lines:
    """Services are started anew with what their launch files then say: another port, and a clock of their own."""
    ports = stack.plan.ports
    lines = Lines({f"{service} {server}": ports[server] for service in SERVICES for server in ("nats", "postgres")})
    try:
        library = skew.library()
    except skew.NoSkew as reason:
        library, missing["clock"] = None, str(reason)
    stack.stop(SERVICES)
    for service in SERVICES:
        changed = _environment(stack, service, lines)
        if library:
            changed |= skew.environment(library, clocks / service)
        _rewrite(stack.home.launch_file(service), changed)
    stack.start(SERVICES)
    return lines


def _environment(stack: Stack, service: str, lines: Lines) -> dict[str, str]:
    launch = json.loads(stack.home.launch_file(service).read_text())["environment"]
    changed = {}
    for setting, server in ((BUS, "nats"), (DATABASE, "postgres")):
        if url := launch.get(name := f"{service.upper()}_{setting}"):
            changed[name] = _with_port(url, lines.proxies[f"{service} {server}"].port)
    return changed


def _rewrite(file: Path, changed: dict[str, str]) -> None:
    launch = json.loads(file.read_text())
    launch["environment"] |= changed
    file.write_text(json.dumps(launch))
