"""The event plane beside its parts and a peer: from a change committed to the effect of its event committed.

Each round takes all in turn on the same servers, whose every commit and every message is on disk before it counts.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import surroundings
from benchmarks.events.ground import Ground, ground
from benchmarks.events.measuring import Run, limit, measure, prefill
from benchmarks.events.scenes import Scene, procrastinate, scenes
from deploy.embedded.home import Home
from deploy.embedded.launch import write_private
from deploy.embedded.parts import DEFAULT_HOME
from shared.environments import Unavailable

RATE = 100.0
PACED_SECONDS = 10
LIMITS = ("publish", "pull")


@dataclass
class Found:
    """The runs of each, at RATE and flat out; messages a second of nats-py alone; who is left out, and why."""

    paced: dict[str, list[Run]] = field(default_factory=dict)
    flat_out: dict[str, list[Run]] = field(default_factory=dict)
    stored: dict[str, list[Run]] = field(default_factory=dict)
    limits: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def compare(place: Ground, bench: Path, rounds: int, count: int, stored: int, say: Console) -> Found:
    found = Found()
    chosen = [*scenes(place)]
    try:
        chosen.append(procrastinate(place, bench))
    except Unavailable as error:
        found.left_out["Procrastinate"] = str(error)
    for turn in range(rounds):
        for verb in LIMITS:
            found.limits.setdefault(verb, []).append(limit(place, verb, count))
        for scene in chosen:
            _measure(place, scene, found, count)
        say.print(f"round {turn + 1} of {rounds}")
    if stored:
        _with_many_stored(place, chosen[:2], found, rounds, count, stored)
    return found


def _measure(place: Ground, scene: Scene, found: Found, count: int) -> None:
    """Who fails once is left out from then on."""
    if scene.label in found.left_out:
        return
    try:
        runs = measure(scene, place, int(RATE * PACED_SECONDS), RATE), measure(scene, place, count, 0)
    except Unavailable as error:
        found.left_out[scene.label] = str(error)
        return
    for of, run in zip((found.paced, found.flat_out), runs, strict=True):
        of.setdefault(scene.label, []).append(run)


def _with_many_stored(
    place: Ground, chosen: Sequence[Scene], found: Found, rounds: int, count: int, stored: int
) -> None:
    prefill(place, stored)
    for _ in range(rounds):
        for scene in chosen:
            found.stored.setdefault(scene.label, []).append(measure(scene, place, count, 0))


def tables(found: Found, stored: int) -> list[Table]:
    return [_times(found), _processors(found), *([_stored(found, stored)] if found.stored else [])]


def _times(found: Found) -> Table:
    shown = Table("", "events/s", f"p50 ms at {RATE:g}/s", "p99 ms", title="from commit to commit, medians of rounds")
    for verb, rates in found.limits.items():
        shown.add_row(f"nats-py alone, {verb}", f"{median(rates):,.0f}", "", "")
    for label, runs in found.flat_out.items():
        p50, p99 = (median(getattr(run, name) for run in found.paced[label]) for name in ("p50", "p99"))
        shown.add_row(label, f"{median(run.per_second for run in runs):,.0f}", f"{p50:.1f}", f"{p99:.1f}")
    for label, why in found.left_out.items():
        shown.add_row(label, f"left out: {why}", "", "")
    return _right(shown)


def _processors(found: Found) -> Table:
    names = [*next(iter(found.flat_out.values()))[0].processor]
    shown = Table("", *names, "all", title="µs of processor time an event, flat out")
    for label, runs in found.flat_out.items():
        each = [median(run.processor[name] for run in runs) for name in names]
        shown.add_row(label, *(f"{one:.0f}" for one in each), f"{sum(each):.0f}")
    return _right(shown)


def _stored(found: Found, stored: int) -> Table:
    shown = Table("", "events/s", "× before", "µs an event", "× before", title=f"with {stored:,} events stored")
    for label, runs in found.stored.items():
        now, before = (
            (median(run.per_second for run in each), median(sum(run.processor.values()) for run in each))
            for each in (runs, found.flat_out[label])
        )
        figures = (f"{now[0]:,.0f}", f"{now[0] / before[0]:.2f}", f"{now[1]:.0f}", f"{now[1] / before[1]:.2f}")
        shown.add_row(label, *figures)
    return _right(shown)


def _right(table: Table) -> Table:
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def document(found: Found, settings: dict[str, Any]) -> dict[str, Any]:
    told = {"at": surroundings.now(), "commit": surroundings.commit(), "machine": surroundings.machine()}
    return told | {"settings": settings} | asdict(found)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="just bench --events", description=__doc__)
    made.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1..20")
    made.add_argument("--events", type=int, default=5000, choices=range(100, 100_001), metavar="100..100000")
    made.add_argument(
        "--stored", type=int, default=0, choices=range(10_000_001), metavar="0..10000000", help="again with so many old"
    )
    made.add_argument("--home", help="the state folder of the stack, which need not run", default=DEFAULT_HOME)
    return made


def main(given: Sequence[str]) -> None:
    chosen = parser().parse_args(given)
    console = Console(width=120, markup=False, highlight=False)
    bench = Home(Path(chosen.home).resolve()).folder("bench")
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as place:
        found = compare(place, bench, chosen.rounds, chosen.events, chosen.stored, console)
    path = bench / "events" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    settings = {name: getattr(chosen, name) for name in ("rounds", "events", "stored")}
    console.print(*tables(found, chosen.stored))
    write_private(path, json.dumps(document(found, settings), indent=1) + "\n")
    console.print(f"results: {path}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
