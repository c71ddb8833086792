"""One run of a scene: events a second, time from commit to commit, and processor time of all that took part."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import nats
import psutil
import psycopg

from benchmarks.events.ground import Ground
from benchmarks.events.scenes import ROOT, Scene, go, own, program, said
from shared.environments import Unavailable

POLL_SECONDS = 0.02
MOST_SECONDS = 120.0
WARM_SECONDS = 2.0
WARM_EVENTS = 200


@dataclass(frozen=True)
class Run:
    """Milliseconds between commits, microseconds of processor time an event by program."""

    per_second: float
    p50: float
    p99: float
    processor: dict[str, float]


def measure(scene: Scene, place: Ground, count: int, rate: float) -> Run:
    """So many changes at this rate, or as fast as they go where it is 0. Raises Unavailable where some do not come."""
    with psycopg.connect(scene.dsn, autocommit=True) as admin:
        _empty(scene, admin, place)
        _write(scene, admin, WARM_EVENTS, 0, {})
        _empty(scene, admin, place)
        return _measured(scene, admin, count, _write(scene, admin, count, rate, place.pids()))


def _empty(scene: Scene, admin: psycopg.Connection[tuple[float, ...]], place: Ground) -> None:
    """Nothing is left of what was measured before, for nobody who was not there to hear it."""
    asyncio.run(_purge(place.nats.url))
    admin.execute(f"TRUNCATE {scene.changes}, {scene.effects}")


async def _purge(url: str) -> None:
    connection = await nats.connect(url)
    await connection.jetstream(timeout=MOST_SECONDS).purge_stream("EVT")
    await connection.close()


def _write(
    scene: Scene, admin: psycopg.Connection[tuple[float, ...]], count: int, rate: float, pids: dict[str, int]
) -> dict[str, float]:
    """Seconds of processor time by program, from the first change to the last effect."""
    with (
        program(scene.hearer, scene.settings, talks=False) as hearer,
        program((*scene.writer, str(count), str(rate)), scene.settings) as writer,
    ):
        said(writer)
        time.sleep(WARM_SECONDS)
        watched = pids | {"writer": writer.pid, "hearer": hearer.pid}
        before = {name: _used(pid) for name, pid in watched.items()}
        go(writer)
        _wait_for(scene, admin, count)
        used = {name: _used(pid) - before[name] for name, pid in watched.items()}
        said(writer)
        go(writer)
        return used


def _wait_for(scene: Scene, admin: psycopg.Connection[tuple[float, ...]], count: int) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while (found := _one(admin, f"SELECT count(*) FROM {scene.effects}")) < count:
        if time.monotonic() > deadline:
            raise Unavailable(f"{scene.label}: {found:g} effects of {count} changes after {MOST_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def _measured(scene: Scene, admin: psycopg.Connection[tuple[float, ...]], count: int, used: dict[str, float]) -> Run:
    between = f"""
        SELECT extract(epoch FROM
            max(pg_xact_commit_timestamp(effect.xmin)) - min(pg_xact_commit_timestamp(change.xmin)))::float8
        FROM {scene.changes} AS change JOIN {scene.effects} AS effect USING (id)
    """
    quantile = f"""
        SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY 1e3 * extract(epoch FROM
            pg_xact_commit_timestamp(effect.xmin) - pg_xact_commit_timestamp(change.xmin))::float8)
        FROM {scene.changes} AS change JOIN {scene.effects} AS effect USING (id)
    """
    p50, p99 = (_one(admin, quantile, share) for share in (0.5, 0.99))
    processor = {name: 1e6 * seconds / count for name, seconds in used.items()}
    return Run(count / _one(admin, between), p50, p99, processor)


def _one(admin: psycopg.Connection[tuple[float, ...]], query: str, *values: float) -> float:
    row = admin.execute(query, values).fetchone()
    assert row is not None
    return float(row[0])


def _used(pid: int) -> float:
    root = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (root, *root.children(recursive=True)))


def limit(place: Ground, verb: str, count: int) -> float:
    """Messages a second of nats-py alone, which publishes them or pulls and acknowledges each."""
    with program(own("plain", verb, str(count)), place.peer() | {"PYTHONPATH": str(ROOT)}) as plain:
        said(plain)
        go(plain)
        seconds = float(json.loads(said(plain))["seconds"])
        go(plain)
        return count / seconds


def prefill(place: Ground, stored: int) -> None:
    """As many events as were published and handled long ago."""
    with psycopg.connect(place.dsn(), autocommit=True) as admin:
        for statement in (Path(__file__).parent / "prefill.sql").read_text().split(";"):
            if statement.strip():
                admin.execute(statement.replace(":stored", str(int(stored))))
