"""Which answers of a run were wrong, and which failures a kill excuses; pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

IN_A_ROW = 20


class Asked(NamedTuple):
    """A request that has ended: seconds of the clock, and what its answer said; `is_right` for the version it names."""

    model: str
    started: float
    ended: float
    status: int
    version: int = 0
    is_right: bool = False
    said: str = ""


class Kill(NamedTuple):
    """The process of one model on one node was killed at this time."""

    model: str
    node: str
    at: float


@dataclass
class Life:
    """From when on a version may answer, and since when it must not: nobody holds it any more."""

    promoted: float
    unstaged: float = math.inf


Lives = Mapping[tuple[str, int], Life]


@dataclass
class Verdicts:
    """Failures by whether a kill excuses them, wrong answers with the reason, and the seconds of each healing."""

    wrong: list[tuple[str, Asked]] = field(default_factory=list)
    outside: list[Asked] = field(default_factory=list)
    inside: list[Asked] = field(default_factory=list)
    healing: list[float] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.wrong and not self.outside and all(map(math.isfinite, self.healing))


def judge(asked: Sequence[Asked], lives: Lives, kills: Sequence[Kill]) -> Verdicts:
    """Every answer against the version that it names, every failure against the times of healing."""
    windows = [(kill, healed(kill, asked)) for kill in kills]
    found = Verdicts(healing=[end - kill.at for kill, end in windows])
    for one in asked:
        if one.status != 200:
            excused = any(is_within(one, kill, end) for kill, end in windows)
            (found.inside if excused else found.outside).append(one)
        elif reason := fault(one, lives):
            found.wrong.append((reason, one))
    return found


def fault(one: Asked, lives: Lives) -> str:
    """Why an answer is wrong; empty where it is right."""
    if not one.is_right:
        return "not what that version computes"
    life = lives.get((one.model, one.version))
    if life is None or one.ended < life.promoted:
        return "by a version that was not promoted"
    return f"by a version unstaged {one.started - life.unstaged:.3f} s before" if one.started > life.unstaged else ""


def is_within(one: Asked, kill: Kill, end: float) -> bool:
    """Whether a request was on its way while its model healed."""
    return one.model == kill.model and one.ended >= kill.at and one.started <= end


def healed(kill: Kill, asked: Iterable[Asked]) -> float:
    """When requests that were sent one after another since the kill were all answered, so many; infinity for never."""
    in_a_row: list[Asked] = []
    for one in sorted(asked, key=lambda one: one.started):
        if one.model == kill.model and one.started >= kill.at:
            in_a_row = [*in_a_row, one] if one.status == 200 else []
            if len(in_a_row) == IN_A_ROW:
                return max(one.ended for one in in_a_row)
    return math.inf
