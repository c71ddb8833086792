"""Two or more versions timed in turn, call by call and window by window, so that what else a machine does meets all."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import aiohttp

from benchmarks.short_load import NotAnswered

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Target:
    """What a version is asked: one row, and many rows at once."""

    url: str
    one: tuple[bytes, dict[str, str]]
    many: tuple[bytes, dict[str, str]]
    rows: int


@dataclass(frozen=True)
class Speed:
    """Milliseconds that half of the calls of one row took less than, and rows a second of callers who ask for many.

    The ratio is to the first target, window by window: the middle one of all.
    """

    p50_ms: float
    rows_per_second: float
    rows_ratio: float


@dataclass(frozen=True)
class Plan:
    """How long to time: calls of one row in turn, then windows of `seconds` in turn, `callers` at once in each."""

    calls: int = 200
    windows: int = 10
    seconds: float = 0.4
    callers: int = 4
    warm_up: int = 5


async def speeds(targets: Mapping[str, Target], authorization: str, plan: Plan) -> dict[str, Speed]:
    """Raises NotAnswered with what a target answered instead."""
    headers = {"Authorization": authorization} if authorization else {}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=plan.callers)) as session:
        for target in targets.values():
            for _ in range(plan.warm_up):
                await _call(session, target.url, target.one)
                await _call(session, target.url, target.many)
        latencies = await _in_turn(session, targets, plan.calls)
        rates = await _windows(session, targets, plan)
    first = rates[next(iter(targets))]
    ratios = {
        name: median(one / other for one, other in zip(found, first, strict=True)) for name, found in rates.items()
    }
    return {name: Speed(median(latencies[name]) * 1000, median(rates[name]), ratios[name]) for name in targets}


async def _in_turn(session: aiohttp.ClientSession, targets: Mapping[str, Target], calls: int) -> Times:
    taken: Times = {name: [] for name in targets}
    for turn in range(calls):
        for name in _turned(list(targets), turn):
            began = time.perf_counter()
            await _call(session, targets[name].url, targets[name].one)
            taken[name].append(time.perf_counter() - began)
    return taken


async def _windows(session: aiohttp.ClientSession, targets: Mapping[str, Target], plan: Plan) -> Times:
    rates: Times = {name: [] for name in targets}
    for turn in range(plan.windows):
        for name in _turned(list(targets), turn):
            rates[name].append(await _window(session, targets[name], plan))
    return rates


async def _window(session: aiohttp.ClientSession, target: Target, plan: Plan) -> float:
    """Rows a second."""
    began, answered = time.perf_counter(), 0

    async def go_on() -> None:
        nonlocal answered
        while time.perf_counter() - began < plan.seconds:
            await _call(session, target.url, target.many)
            answered += target.rows

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.callers):
                group.create_task(go_on())
    except* NotAnswered as failed:
        raise failed.exceptions[0] from None
    return answered / (time.perf_counter() - began)


async def _call(session: aiohttp.ClientSession, url: str, request: tuple[bytes, dict[str, str]]) -> None:
    body, headers = request
    try:
        async with session.post(url, data=body, headers=headers) as reply:
            answer = await reply.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotAnswered(f"{url} did not answer: {error!r}") from error
    if reply.status != 200:
        raise NotAnswered(f"{url} answered {reply.status}: {answer[:200].decode(errors='replace')}")


def timed(runs: Mapping[str, Callable[[], object]], most: int = 400, seconds: float = 2.0) -> dict[str, float]:
    """Milliseconds that half of the calls of each took less than, in turn, for so long or so many."""
    taken: Times = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    for run in runs.values():
        run()
    for turn in range(most):
        for name in _turned(list(runs), turn):
            began = time.perf_counter()
            runs[name]()
            taken[name].append(time.perf_counter() - began)
        if time.perf_counter() > end:
            break
    return {name: median(found) * 1000 for name, found in taken.items()}


def _turned(names: Sequence[str], turn: int) -> Sequence[str]:
    """Nobody is always the first."""
    return names if turn % 2 == 0 else names[::-1]
