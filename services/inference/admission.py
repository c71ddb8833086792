"""What a node takes on: who would wait too long is refused at once, and a silent version is let be; pure."""

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.inference.domain import Deployment
from shared.errors import AimassError, Unavailable

CALLS_KEPT: Final = 8
CALLS_NEEDED: Final = 4
LOST_IN_A_ROW: Final = 3
OPEN_SECONDS: Final = 5.0
RETRY_SECONDS_MAX: Final = 60
SHARE_OF_TIME: Final = 0.8


class ProjectFull(AimassError):
    """Too many requests of this project wait; try again."""

    code = "project_full"
    status = 429


@dataclass(frozen=True)
class Limits:
    """How many requests may be unanswered at once, and the seconds that one may be expected to wait."""

    node: int
    project: int
    version: int
    seconds: float


class Pace:
    """The seconds that a version takes for a request: the best of its last calls, since one may be slow by chance."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=CALLS_KEPT)
        self._best = 0.0

    def note(self, seconds: float, requests: int) -> None:
        self._seconds.append(seconds / requests)
        if len(self._seconds) >= CALLS_NEEDED:
            self._best = min(self._seconds)

    def wait(self, ahead: int) -> float:
        """The seconds that so many take; nothing is known after less than CALLS_NEEDED calls."""
        return ahead * self._best


class Breaker:
    """Opens after calls lost in a row; what is let through after a while decides whether it opens again."""

    def __init__(self) -> None:
        self._lost = 0
        self._opened = -math.inf

    def left(self, now: float) -> float:
        """The seconds for which nothing shall be asked."""
        return max(0.0, self._opened + OPEN_SECONDS - now)

    @property
    def was_open(self) -> bool:
        """Whether it ever opened: without that the time need not be asked for."""
        return self._opened > -math.inf

    def on_answered(self) -> None:
        self._lost = 0

    def on_lost(self, now: float) -> bool:
        """Count a lost call; whether the breaker is open now."""
        self._lost += 1
        if self._lost >= LOST_IN_A_ROW:
            self._opened = now
        return self._lost >= LOST_IN_A_ROW


class Admission:
    """Counts what is unanswered, by version and by project, and refuses what is too much."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._breakers: defaultdict[str, Breaker] = defaultdict(Breaker)
        self._projects: Counter[str] = Counter()
        self._instances: dict[str, int] = {}
        self.versions: Counter[str] = Counter()
        self.all = 0

    def check(self, deployment: Deployment, seconds: float) -> None:
        """Let a request in that has these seconds left; raises ProjectFull or Unavailable with when to come again."""
        breaker = self._breakers[deployment.name]
        if breaker.was_open and (left := breaker.left(self._clock())) > 0:
            raise Unavailable(f"model '{deployment.model}' does not answer now; try again", retry_after=_whole(left))
        self._check_room(deployment)
        wait = self._paces[deployment.name].wait(self.versions[deployment.name])
        if wait > min(self._limits.seconds, seconds * SHARE_OF_TIME):
            message = f"model '{deployment.model}' is busy: the wait would be {wait:.2g} s; try again"
            raise Unavailable(message, retry_after=_whole(wait))

    def _check_room(self, deployment: Deployment) -> None:
        if self._projects[deployment.project] >= self._limits.project:
            raise ProjectFull(retry_after=1)
        if self.versions[deployment.name] >= self._limits.version:
            raise Unavailable(f"too many requests wait for model '{deployment.model}'; try again")
        if self.all >= self._limits.node:
            raise Unavailable("too many requests wait here; try again")

    def enter(self, deployment: Deployment) -> None:
        self.all += 1
        self.versions[deployment.name] += 1
        self._projects[deployment.project] += 1

    def leave(self, deployment: Deployment) -> None:
        self.all -= 1
        _decrease(self.versions, deployment.name)
        _decrease(self._projects, deployment.project)

    def on_answered(self, name: str, seconds: float, requests: int) -> None:
        """A call for so many requests was answered, be it with an error of the model."""
        self._paces[name].note(seconds / self._instances.get(name, 1), requests)
        self._breakers[name].on_answered()

    def on_lost(self, name: str) -> bool:
        """A call was not answered; whether nothing shall be asked of the version for a while."""
        return self._breakers[name].on_lost(self._clock())

    def set_instances(self, name: str, count: int) -> None:
        """So many calls are answered at once; one of a version of which nothing is known."""
        self._instances.pop(name, None)
        if count > 1:
            self._instances[name] = count

    def forget(self, name: str) -> None:
        """The version is loaded anew, or gone."""
        self._paces.pop(name, None)
        self._breakers.pop(name, None)


def _decrease(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _whole(seconds: float) -> int:
    return min(RETRY_SECONDS_MAX, max(1, math.ceil(seconds)))
