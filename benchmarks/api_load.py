"""The control API at rest, and while a training runs with its curves and log followed and 100 events a second are said.

Calls start at their time, whatever has become of those before: open load.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aimass import Client
from rich.console import Console
from rich.table import Table

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of

MODEL = "digits-cnn"
CALLS_A_SECOND = 20
EVENTS_A_SECOND = 100
NOTED_TASKS = 20
NOWHERE = {"cores": 4096}
WATCHED = ("/api/v1/tasks?limit=20", "/api/v1/tasks/{task}", "/api/v1/tasks/{task}/metrics", "/api/v1/models")
CHANGED = "/api/v1/tasks/{task}"


@dataclass
class Seen:
    """Seconds until each answer, of all and by route, and the answers that were none."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    routes: dict[str, "Seen"] = field(default_factory=dict)

    def note(self, route: str, seconds: float, failed: bool) -> None:
        for seen in (self, self.routes.setdefault(route, Seen())):
            seen.seconds.append(seconds)
            seen.failed += failed

    def at(self, quantile: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds) or [0.0]
        return 1e3 * ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


async def call(
    session: aiohttp.ClientSession, method: str, route: str, task: str, seen: Seen, body: Any = None
) -> None:
    started = time.perf_counter()
    async with session.request(method, route.format(task=task), json=body) as reply:
        await reply.read()
    seen.note(f"{method} {route}", time.perf_counter() - started, reply.status != 200)


async def paced(rate: float, seconds: float) -> AsyncIterator[int]:
    """Numbers at their times."""
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        yield number


async def look(session: aiohttp.ClientSession, task: str, seconds: float) -> Seen:
    """Ask what a page of a task asks."""
    seen, routes, asked = Seen(), itertools.cycle(WATCHED), set()
    async for _ in paced(CALLS_A_SECOND, seconds):
        asked.add(asyncio.create_task(call(session, "GET", next(routes), task, seen)))
    await asyncio.gather(*asked)
    return seen


async def say_events(session: aiohttp.ClientSession, tasks: list[str], seconds: float) -> Seen:
    """Change tasks that wait: each change commits with its event, which goes over the bus to monitor."""
    seen, asked = Seen(), set()
    async for number in paced(EVENTS_A_SECOND, seconds):
        task, body = tasks[number % len(tasks)], {"remark": f"change {number}"}
        asked.add(asyncio.create_task(call(session, "PATCH", CHANGED, task, seen, body)))
    await asyncio.gather(*asked)
    return seen


@asynccontextmanager
async def followed(session: aiohttp.ClientSession, task: str) -> AsyncIterator[list[int]]:
    """The log of a task as server-sent events; how many lines came."""
    lines = [0]

    async def follow() -> None:
        async with session.get(f"/api/v1/tasks/{task}/logs?follow=true", timeout=aiohttp.ClientTimeout()) as reply:
            async for line in reply.content:
                lines[0] += line.startswith(b"data:")

    following = asyncio.create_task(follow())
    try:
        yield lines
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def measure(url: str, key: str, client: Client, idle: float, seconds: float) -> Table:
    waiting = [client.train(MODEL, terms={"resources": NOWHERE})["id"] for _ in range(NOTED_TASKS)]
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with aiohttp.ClientSession(url, headers=headers) as session:
            at_rest = await look(session, waiting[0], idle)
            training = (await asyncio.to_thread(client.train, MODEL, {"epochs": 10_000}))["id"]
            waiting.append(training)
            while (await asyncio.to_thread(client.task, training))["state"] != "running":
                await asyncio.sleep(0.2)
            async with followed(session, training) as lines:
                busy, events = await asyncio.gather(
                    look(session, training, seconds), say_events(session, waiting[:-1], seconds)
                )
            epochs = len({point["epoch"] for point in client.metrics(training)})
    finally:
        for task in waiting:
            client.cancel(task)
    return table(at_rest, busy, events, lines[0], epochs, seconds)


def table(at_rest: Seen, busy: Seen, events: Seen, lines: int, epochs: int, seconds: float) -> Table:
    shown = Table("what", "at rest", "while training", "times", title=f"the control API, {seconds:g} s of training")
    for quantile in (0.5, 0.99):
        rest, now = at_rest.at(quantile), busy.at(quantile)
        shown.add_row(f"p{100 * quantile:g}, ms", f"{rest:.1f}", f"{now:.1f}", f"{now / rest:.2f}")
    for route in sorted(busy.routes, key=lambda route: busy.routes[route].at(0.99), reverse=True):
        rest, now = at_rest.routes[route].at(0.99), busy.routes[route].at(0.99)
        shown.add_row(f"p99 of {route}, ms", f"{rest:.1f}", f"{now:.1f}", f"{now / rest:.2f}")
    shown.add_row(f"p50, p99 of PATCH {CHANGED}, ms", "", f"{events.at(0.5):.1f}, {events.at(0.99):.1f}", "")
    shown.add_row("calls / failed", *(f"{len(seen.seconds):,} / {seen.failed}" for seen in (at_rest, busy)), "")
    shown.add_row("events said / not", "", f"{len(events.seconds):,} / {events.failed}", "")
    shown.add_row("epochs shown, log lines followed", "", f"{epochs:,}, {lines:,}", "")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="of the training")
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    stack = Stack(chosen.home)
    stack.up()
    key = Path(stack.info["admin_key_file"]).read_text().strip()
    with client_of(stack.info) as client:
        idle, seconds = min(60.0, 60 * chosen.minutes), 60 * chosen.minutes
        Console().print(asyncio.run(measure(stack.info["gateway"], key, client, idle, seconds)))


if __name__ == "__main__":
    main()
