"""Three times as many requests as a model can answer: what comes through, how fast the rest is refused, what is left.

The load is open: requests start at their time, whatever has become of those before. The model computes for about 20 ms,
one request at a time.
"""

import argparse
import asyncio
import gc
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.brought import bring, busy
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of

MODEL = "bench-busy"
MODEL_SECONDS = 0.02
TIMES = 3
ALONE_SECONDS = 5
NORMAL_WITHIN = 5
WATCHED = ("gateway", "inference")
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2.0]}]}


@dataclass
class Seen:
    """Statuses, the seconds until a refusal, and those by which requests were begun after their time."""

    statuses: Counter[int] = field(default_factory=Counter)
    refusals: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


async def ask(session: aiohttp.ClientSession, url: str, seen: Seen) -> int:
    started = time.perf_counter()
    async with session.post(url, json=BODY) as reply:
        body = await reply.read()
    seen.statuses[reply.status] += 1
    if reply.status != 200:
        seen.refusals.append(time.perf_counter() - started)
    elif json.loads(body)["outputs"][0]["data"] != [4.0]:
        raise ValueError(f"a wrong answer: {body[:200]!r}")
    return reply.status


async def capacity(session: aiohttp.ClientSession, url: str) -> float:
    """Answers a second while two requests are always there."""
    seen, deadline = Seen(), time.perf_counter() + ALONE_SECONDS

    async def client() -> None:
        while time.perf_counter() < deadline:
            await ask(session, url, seen)

    await asyncio.gather(client(), client())
    return seen.statuses[200] / ALONE_SECONDS


async def overload(session: aiohttp.ClientSession, url: str, rate: float, seconds: int) -> tuple[Seen, float]:
    """Start so many requests a second, evenly; what became of them by their end, and the time of recovery then."""
    seen, started = Seen(), time.perf_counter()
    asked = []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        seen.late.append(time.perf_counter() - due)
        asked.append(asyncio.create_task(ask(session, url, seen)))
    found = Seen(Counter(seen.statuses), list(seen.refusals), seen.late)
    normal = await recovery(session, url)
    await asyncio.gather(*asked)
    return found, normal


async def recovery(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds until ten requests in a row are answered."""
    started, in_a_row = time.perf_counter(), 0
    while in_a_row < 10:
        in_a_row = in_a_row + 1 if await ask(session, url, Seen()) == 200 else 0
        if time.perf_counter() - started > 10 * NORMAL_WITHIN:
            raise TimeoutError("it did not become normal again")
    return time.perf_counter() - started


def memory(info: dict[str, Any]) -> dict[str, int]:
    """Megabytes of the watched processes."""
    return {name: psutil.Process(info["processes"][name]).memory_info().rss // 2**20 for name in WATCHED}


async def measure(info: dict[str, Any], key: str, seconds: int) -> Table:
    url = f"{info['gateway']}/v2/models/{MODEL}/infer"
    headers = {"Authorization": f"Bearer {key}"}
    connections = aiohttp.TCPConnector(limit=0)
    gc.freeze()  # else one look through all that is loaded stops the clock of whoever waits then, for up to 0.3 s
    async with aiohttp.ClientSession(headers=headers, connector=connections) as session:
        possible = await capacity(session, url)
        before = memory(info)
        seen, normal = await overload(session, url, TIMES * possible, seconds)
        after = memory(info)
    return table(possible, seen, seconds, before, after, normal)


def table(
    possible: float, seen: Seen, seconds: int, before: dict[str, int], after: dict[str, int], normal: float
) -> Table:
    shown = Table("what", "figure", title=f"{TIMES} times the capacity of {MODEL} for {seconds} s, open load")
    others = {status: count for status, count in sorted(seen.statuses.items()) if status != 200}
    shown.add_row("capacity, answers/s", f"{possible:.1f}")
    shown.add_row("answered under load, answers/s", f"{seen.statuses[200] / seconds:.1f}")
    shown.add_row("ratio", f"{seen.statuses[200] / seconds / possible:.2f}")
    shown.add_row("other statuses", json.dumps(others))
    shown.add_row("refused within, p50 / p99 / most, ms", _spread(seen.refusals))
    shown.add_row("load late by, p50 / p99 / most, ms", _spread(seen.late))
    shown.add_row("memory before, MB", json.dumps(before))
    shown.add_row("memory after, MB", json.dumps(after))
    shown.add_row("then ten answers in a row within, s", f"{normal:.2f}")
    return shown


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    return " / ".join(f"{1e3 * _at(ordered, quantile):.1f}" for quantile in (0.5, 0.99, 1))


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of the load")
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    stack = Stack(chosen.home)
    stack.up()
    with client_of(stack.info) as client:
        bring(client, MODEL, busy(MODEL_SECONDS))
    key = Path(stack.info["admin_key_file"]).read_text().strip()
    Console().print(asyncio.run(measure(stack.info, key, chosen.seconds)))


if __name__ == "__main__":
    main()
