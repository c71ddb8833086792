"""The faults of a mixed run: each does its harm at once, and says how and after how long it is undone."""

import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import psycopg

from deploy.embedded import processes
from shared.streams import SERVICES
from tests.faults.mixed import bus, skew
from tests.faults.mixed.site import Site, signalled
from tests.faults.points import FIRST, KEYS, LATER, POINTS

SERVERS = ("nats", "postgres", "triton")
WITH_DATABASE = tuple(service for service in SERVICES if service != "gateway")
WITH_ARTIFACTS = ("registry", "trainer", "inference", "evaluator")
SMALL_FILE = 4096
LEFT_BYTES = 64 * 1024
SKEW_SECONDS = 600
CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE usename = ANY(%s) AND pid <> pg_backend_pid()
"""


class Skipped(Exception):
    """Why this fault cannot be done now, or not here."""


@dataclass(frozen=True)
class Done:
    """What was done to what; `undo` after these seconds."""

    what: str
    seconds: float = 0.0
    undo: Callable[[], None] | None = None


Harm = Callable[[Site, random.Random], Done]


def _living(site: Site, part: str) -> int:
    pid = site.pid(part)
    if pid is None:
        raise Skipped("it has just died")
    return pid


def _end(parts: tuple[str, ...], number: signal.Signals, site: Site, chance: random.Random) -> Done:
    part = chance.choice(parts)
    signalled(processes.identity(_living(site, part)), number)
    return Done(part)


def _freeze(parts: tuple[str, ...], longest: float, site: Site, chance: random.Random) -> Done:
    part, seconds = chance.choice(parts), chance.uniform(0.5, longest)
    mark = processes.identity(_living(site, part))
    signalled(mark, signal.SIGSTOP)
    return Done(f"{part} for {seconds:.1f} s", seconds, partial(signalled, mark, signal.SIGCONT))


def _children(site: Site, parts: tuple[str, ...]) -> list[str]:
    """The processes that these parts have started, which live."""
    found: list[psutil.Process] = []
    for part in parts:
        with suppress(psutil.Error, Skipped):
            found += psutil.Process(_living(site, part)).children(recursive=True)
    return [mark for child in found if (mark := processes.identity(child.pid))]


def _kill_child(parts: tuple[str, ...], site: Site, chance: random.Random) -> Done:
    found = _children(site, parts)
    if not found:
        raise Skipped("none runs now")
    mark = chance.choice(found)
    signalled(mark, signal.SIGKILL)
    return Done(f"{processes.pid_of(mark)} of {' or '.join(parts)}")


def _freeze_child(parts: tuple[str, ...], site: Site, chance: random.Random) -> Done:
    found = _children(site, parts)
    if not found:
        raise Skipped("none runs now")
    mark, seconds = chance.choice(found), chance.uniform(1, 5)
    signalled(mark, signal.SIGSTOP)
    return Done(f"of {' or '.join(parts)} for {seconds:.1f} s", seconds, partial(signalled, mark, signal.SIGCONT))


def _cut_backends(site: Site, chance: random.Random) -> Done:
    of = list(chance.sample(WITH_DATABASE, chance.randint(1, len(WITH_DATABASE))))
    try:
        with psycopg.connect(site.stack.info["postgres"], autocommit=True, connect_timeout=2) as connection:
            row = connection.execute(CUT, (of,)).fetchone()
    except psycopg.OperationalError:
        raise Skipped("the database is away") from None
    return Done(f"{row[0] if row else 0} of {', '.join(of)}")


def _reset(site: Site, chance: random.Random) -> Done:
    name = chance.choice(list(site.lines.proxies))
    site.lines.tell(name, lambda proxy: proxy.reset())
    return Done(name)


def _slow(site: Site, chance: random.Random) -> Done:
    name, latency = chance.choice(list(site.lines.proxies)), chance.uniform(0.05, 0.3)

    def become(seconds: float) -> None:
        site.lines.tell(name, lambda proxy: setattr(proxy, "latency", seconds))

    become(latency)
    return Done(f"{name} by {latency:.2f} s", chance.uniform(2, 6), partial(become, 0.0))


def _hush(site: Site, chance: random.Random) -> Done:
    name = chance.choice(list(site.lines.proxies))
    site.lines.tell(name, lambda proxy: proxy.hush())
    return Done(name, chance.uniform(2, 8), lambda: site.lines.tell(name, lambda proxy: proxy.speak()))


def _fill_disk(site: Site, chance: random.Random) -> Done:
    if "full disk" in site.missing:
        raise Skipped(site.missing["full disk"])
    name, disk = chance.choice(list(site.disks.items()))
    filler = disk / "filler"
    if filler.exists():
        raise Skipped("it is full already")
    with filler.open("wb") as file, suppress(OSError):  # fuller than it was when it was looked at
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - LEFT_BYTES))
    return Done(name, chance.uniform(1, 4), partial(filler.unlink, missing_ok=True))


def _small_files(site: Site, chance: random.Random) -> Done:
    """RLIMIT_FSIZE: what this service writes beyond it fails, as on a full disk."""
    part = chance.choice(WITH_ARTIFACTS)
    pid = _living(site, part)
    mark = processes.identity(pid)

    def limit(bytes_: int) -> None:
        if mark and processes.is_alive(mark):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))

    limit(SMALL_FILE)
    return Done(part, chance.uniform(1, 4), partial(limit, resource.RLIM_INFINITY))


def _set_clock(site: Site, chance: random.Random) -> Done:
    if "clock" in site.missing:
        raise Skipped(site.missing["clock"])
    service, sign = chance.choice(SERVICES), chance.choice((-1, 1))
    told = site.clocks / service
    skew.set_clock(told, sign * SKEW_SECONDS)
    return Done(f"{service} {sign * SKEW_SECONDS:+d} s", chance.uniform(3, 10), partial(skew.set_clock, told, 0))


def _arm(site: Site, chance: random.Random) -> Done:
    point = chance.choice((*POINTS, *FIRST, *LATER, *KEYS))
    Path(point.file(site.failpoints)).touch()
    return Done(f"{point.service} {point.moment}-{point.name}")


def _on_bus(act: Callable[[Site, random.Random], str], site: Site, chance: random.Random) -> Done:
    try:
        return Done(act(site, chance))
    except bus.AWAY as error:
        raise Skipped("the bus is away") from error


def _delete_consumer(site: Site, chance: random.Random) -> Done:
    done = _on_bus(bus.delete_consumer, site, chance)
    return Done(done.what, chance.uniform(0.5, 3), partial(bus.provision, site))


def _fill_stream(site: Site, chance: random.Random) -> Done:
    done = _on_bus(bus.fill_stream, site, chance)
    return Done(done.what, chance.uniform(1, 4), partial(bus.provision, site))


FAULTS: dict[str, tuple[int, Harm]] = {
    "kill -9 of a service": (20, partial(_end, SERVICES, signal.SIGKILL)),
    "SIGTERM of a service": (8, partial(_end, SERVICES, signal.SIGTERM)),
    "SIGSTOP of a service": (10, partial(_freeze, SERVICES, 6.0)),
    "kill -9 of a task's process": (8, partial(_kill_child, ("trainer", "evaluator"))),
    "SIGSTOP of a task's process": (4, partial(_freeze_child, ("trainer", "evaluator"))),
    "kill -9 of nats": (5, partial(_end, ("nats",), signal.SIGKILL)),
    "kill -9 of postgres": (4, partial(_end, ("postgres",), signal.SIGKILL)),
    "immediate stop of postgres": (3, partial(_end, ("postgres",), signal.SIGQUIT)),
    "kill -9 of triton": (2, partial(_end, ("triton",), signal.SIGKILL)),
    "kill -9 of a model's process": (3, partial(_kill_child, ("triton",))),
    "SIGSTOP of a server": (6, partial(_freeze, SERVERS, 4.0)),
    "backends terminated": (12, _cut_backends),
    "connections reset": (14, _reset),
    "latency": (8, _slow),
    "silent line": (5, _hush),
    "full disk": (6, _fill_disk),
    "full stream": (3, _fill_stream),
    "RLIMIT_FSIZE": (5, _small_files),
    "clock 10 min wrong": (7, _set_clock),
    "failpoint armed": (14, _arm),
    "consumer deleted": (1, _delete_consumer),
    "poison": (5, partial(_on_bus, bus.poison)),
    "repeat inside the window": (6, partial(_on_bus, bus.repeat_soon)),
    "repeat past the window": (6, partial(_on_bus, bus.repeat_late)),
    "reordered repeats": (4, partial(_on_bus, bus.reorder)),
}
