"""Who is measured: each a program that commits changes and one that commits an effect for each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

from benchmarks.events.ground import PEER_DATABASE, Ground
from benchmarks.events.pace import MARK
from deploy import provision
from deploy.embedded.launch import base_environment
from shared.environments import Unavailable, environment, locked

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "benchmarks" / "peers" / "procrastinate"
END_SECONDS = 30.0


@dataclass(frozen=True)
class Scene:
    """`changes` and `effects` are tables of the database with this address."""

    label: str
    writer: tuple[str, ...]
    hearer: tuple[str, ...]
    dsn: str
    changes: str = "trainer.bench_changes"
    effects: str = "evaluator.bench_effects"
    settings: dict[str, str] = field(default_factory=dict)


@contextmanager
def program(command: tuple[str, ...], settings: dict[str, str], talks: bool = True) -> Iterator["Popen[str]"]:
    """A program that is asked to end with the block; what one that does not talk logs is nobody's to read."""
    output = PIPE if talks else DEVNULL
    started = Popen(command, env=base_environment(settings), stdin=PIPE, stdout=output, text=True)
    try:
        yield started
    finally:
        started.terminate()
        started.communicate(timeout=END_SECONDS)


def go(started: "Popen[str]") -> None:
    assert started.stdin is not None
    started.stdin.write("go\n")
    started.stdin.flush()


def said(started: "Popen[str]") -> str:
    """What it says next, between the lines of its log. Raises Unavailable where it ended instead."""
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith(MARK):
            return line.removeprefix(MARK).strip()
    raise Unavailable(f"{started.args!r} ended with {started.wait()}")


def own(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.events.{module}", *arguments)


def scenes(place: Ground) -> Iterator[Scene]:
    """Ours with each event in a transaction and with batches, and the framework below alone, on the same events."""
    path = {"PYTHONPATH": str(ROOT)}
    settings = place.service("trainer") | place.service("evaluator") | path
    write, dsn = own("writer"), place.dsn()
    yield Scene("AI Mass, a transaction each", write, own("hearer"), dsn, settings=settings)
    yield Scene("AI Mass, batches", write, own("hearer", "batches"), dsn, settings=settings)
    alone = settings | {
        "BENCH_NATS": place.nats.url,
        "BENCH_DSN": provision.service_url(place.postgres.dsn, "evaluator", place.passwords["evaluator"]),
    }
    yield Scene(f"FastStream {_version('faststream')} alone", write, own("framework"), dsn, settings=alone)


def procrastinate(place: Ground, bench: Path) -> Scene:
    """Raises Unavailable where its environment cannot be made."""
    lock = PEER / "requirements.txt"
    python = str(environment(bench / "procrastinate", lock))
    program_file = str(PEER / "program.py")
    settings: dict[str, Any] = place.peer() | {"PYTHONPATH": str(ROOT / "benchmarks" / "events")}
    with program((python, program_file, "schema"), settings) as schema:
        schema.wait(END_SECONDS)
    return Scene(
        f"Procrastinate {locked(lock, 'procrastinate')}",
        (python, program_file, "writer"),
        (python, program_file, "worker"),
        place.dsn(PEER_DATABASE),
        "bench_changes",
        "bench_effects",
        settings,
    )


def _version(package: str) -> str:
    return locked(ROOT / "requirements.lock", package)
