"""When tasks begin and end, if all goes on as now and each takes as long as its like took before; pure.

What is not known is not guessed: what takes unknown time frees nothing, so what waits for that has no estimate either.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from statistics import median
from typing import Any

from shared.rpc.monitor import Forecast
from shared.rpc.tasks import TaskView
from shared.tasks.terms import Resources

GOES_ON = ("queued", "running")
SEED = "seed"
LONGEST_LINE = 300
Key = tuple[str, str]
Span = tuple[datetime | None, datetime | None]
Parts = tuple[float, float, float]


@dataclass(frozen=True)
class Past:
    """A task that succeeded, and the seconds from its beginning to its end."""

    parameters: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Going:
    """A task that waits or runs; `seconds_left` is what it says of itself, `waits_for` names others."""

    key: Key
    kind: str
    model: str
    parameters: Mapping[str, Any]
    started_at: datetime | None
    seconds_left: float | None
    waits_for: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """What a node has, what runs there with the seconds until its end, and what waits in its order with its seconds."""

    capacity: Resources
    running: Sequence[tuple[Resources, float | None]]
    waiting: Sequence[tuple[Key, Resources, float | None]]


def expected(past: Iterable[Past], parameters: Mapping[str, Any]) -> float | None:
    """The seconds that a task will take: as the median of those with the same parameters, or of all of its kind."""
    known = list(past)
    same = [each for each in known if _unseeded(each.parameters) == _unseeded(parameters)]
    return median(each.seconds for each in same or known) if known else None


def left(task: Going, seconds: float | None, now: datetime) -> float | None:
    """The seconds until a running task ends; one that takes longer than expected may end at any time."""
    if task.seconds_left is not None:
        return task.seconds_left
    if seconds is None or task.started_at is None:
        return None
    rest = seconds - (now - task.started_at).total_seconds()
    return rest if rest > 0 else None


def simulated(place: Place) -> dict[Key, tuple[float, float | None]]:
    """The seconds until tasks begin and end, as the desk admits them whenever one ends; without those that never do.

    As at the desk, what does not fit keeps its place: nothing behind it takes what it waits for.
    """
    free, ends = _parts(place.capacity), list[tuple[float, Parts]]()
    for needed, seconds in place.running:
        free = _less(free, _parts(needed))
        if seconds is not None:
            heappush(ends, (seconds, _parts(needed)))
    line = [(key, _parts(needed), seconds) for key, needed, seconds in place.waiting[:LONGEST_LINE]]
    line = [each for each in line if _holds(_parts(place.capacity), each[1])]
    found: dict[Key, tuple[float, float | None]] = {}
    now = 0.0
    while True:
        room = free
        for key, needs, seconds in line:
            if _holds(room, needs):
                found[key] = (now, None if seconds is None else now + seconds)
                free = _less(free, needs)
                if seconds is not None:
                    heappush(ends, (now + seconds, needs))
            room = _less(room, needs)
        line = [each for each in line if each[0] not in found]
        if not line or not ends:
            return found
        now, freed = heappop(ends)
        free = _plus(free, freed)


def held_up(
    tasks: Iterable[tuple[Going, float | None]], ends: Mapping[Key, float | None]
) -> dict[Key, tuple[float, float | None]]:
    """Those that wait for others: not before all of these have ended, where that is known of all; oldest first."""
    known, found = dict(ends), dict[Key, tuple[float, float | None]]()
    for task, seconds in tasks:
        others = [known.get((task.key[0], name)) for name in task.waits_for]
        times = [end for end in others if end is not None]
        if len(times) == len(others):
            begins = max(times)
            known[task.key] = None if seconds is None else begins + seconds
            found[task.key] = (begins, known[task.key])
    return found


def at(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def forecast_of(span: Span | None) -> Forecast:
    begins, ends = span or (None, None)
    return Forecast(estimated_start=begins, estimated_end=ends)


def with_forecast(task: TaskView, span: Span | None) -> TaskView:
    return task.model_copy(update=forecast_of(span).model_dump()) if task.state in GOES_ON else task


def _unseeded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != SEED}


def _parts(needs: Resources) -> Parts:
    return (needs.cores, float(needs.memory), needs.gpus)


def _holds(room: Parts, needs: Parts) -> bool:
    return all(taken == 0 or taken <= there + 1e-9 for there, taken in zip(room, needs, strict=True))


def _less(room: Parts, needs: Parts) -> Parts:
    return (room[0] - needs[0], room[1] - needs[1], room[2] - needs[2])


def _plus(room: Parts, needs: Parts) -> Parts:
    return (room[0] + needs[0], room[1] + needs[1], room[2] + needs[2])
