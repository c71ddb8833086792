"""Who goes first: the project that had least of the nodes, lately and for its weight; within it the most urgent task.

What does not fit now keeps its place: nothing behind it may take what it waits for. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.tasks.terms import Resources

EXPECTED_SECONDS = 1.0
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Waiting:
    """A task that could run, and whether it is the asking runner's to run."""

    task_id: str
    project: str
    priority: int
    created_at: datetime
    needs: Resources
    is_askers: bool


@dataclass(frozen=True)
class Decision:
    """What may run now; what no node of this size can ever run."""

    admitted: list[Waiting]
    too_large: list[Waiting]


def share(needs: Resources, capacity: Resources) -> float:
    """What a second of a task counts; nothing is quite free."""
    return max(LEAST_SHARE, needs.share_of(capacity))


def admit(
    capacity: Resources,
    taken: Iterable[Resources],
    waiting: Iterable[Waiting],
    usage: Mapping[str, float],
    weights: Mapping[str, float],
    others: Iterable[Resources] = (),
) -> Decision:
    """Decide for one node beside others; usage is in seconds of a whole node by project, weights are 1 where none is
    given.
    """
    free, others = capacity, tuple(others)
    for needs in taken:
        free -= needs
    decision = Decision([], [])
    for task in in_turn(waiting, usage, weights, capacity):
        if not capacity.holds(task.needs):
            if not any(other.holds(task.needs) for other in others):
                decision.too_large.append(task)
            continue
        if free.holds(task.needs) and task.is_askers:
            decision.admitted.append(task)
        free -= task.needs
    return decision


def in_turn(
    waiting: Iterable[Waiting], usage: Mapping[str, float], weights: Mapping[str, float], capacity: Resources
) -> Iterable[Waiting]:
    """The line: each time the project that has had least by then, where what is chosen counts as some use of it."""
    lines: dict[str, list[Waiting]] = {}
    for task in sorted(waiting, key=_urgency, reverse=True):
        lines.setdefault(task.project, []).append(task)
    had = {project: usage.get(project, 0.0) for project in lines}
    while lines:
        first = min(
            lines, key=lambda project: (had[project] / weights.get(project, 1.0), lines[project][-1].created_at)
        )
        task = lines[first].pop()
        if not lines[first]:
            del lines[first]
        had[first] += share(task.needs, capacity) * EXPECTED_SECONDS
        yield task


def _urgency(task: Waiting) -> tuple[int, datetime, str]:
    return (-task.priority, task.created_at, task.task_id)
