"""What a node takes on: who would wait too long is refused at once, and a silent version is let be; pure."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Set
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


class Tally:
    """How many requests are unanswered."""

    __slots__ = ("unanswered",)

    def __init__(self) -> None:
        self.unanswered = 0


class Load(Tally):
    """What a version has to answer, for which project, and how fast and how sound it was lately."""

    __slots__ = ("breaker", "pace", "project")

    def __init__(self, project: Tally) -> None:
        super().__init__()
        self.project = project
        self.forget()

    def forget(self) -> None:
        self.pace, self.breaker = Pace(), Breaker()


class Admission:
    """Counts what is unanswered, by version and by project, and refuses what is too much."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._loads: dict[str, Load] = {}
        self._projects: defaultdict[str, Tally] = defaultdict(Tally)
        self._instances: dict[str, int] = {}
        self.all = 0

    def check(self, deployment: Deployment, seconds: float, count: int = 1) -> None:
        """Let requests in that have these seconds left; raises ProjectFull or Unavailable with when to come again."""
        load = self._of(deployment)
        if load.breaker.was_open and (left := load.breaker.left(self._clock())) > 0:
            raise Unavailable(f"model '{deployment.model}' does not answer now; try again", retry_after=_whole(left))
        self._check_room(load, deployment.model, count)
        wait = load.pace.wait(load.unanswered + count - 1)
        if wait > min(self._limits.seconds, seconds * SHARE_OF_TIME):
            message = f"model '{deployment.model}' is busy: the wait would be {wait:.2g} s; try again"
            raise Unavailable(message, retry_after=_whole(wait))

    def _check_room(self, load: Load, model: str, count: int) -> None:
        if load.project.unanswered + count > self._limits.project:
            raise ProjectFull(retry_after=1)
        if load.unanswered + count > self._limits.version:
            raise Unavailable(f"too many requests wait for model '{model}'; try again")
        if self.all + count > self._limits.node:
            raise Unavailable("too many requests wait here; try again")

    def enter(self, deployment: Deployment, count: int = 1) -> None:
        load = self._of(deployment)
        self.all += count
        load.unanswered += count
        load.project.unanswered += count

    def leave(self, deployment: Deployment, count: int = 1) -> None:
        self.enter(deployment, -count)

    def unanswered(self, name: str) -> int:
        """How many requests a version has not answered yet."""
        return load.unanswered if (load := self._loads.get(name)) else 0

    def on_answered(self, deployment: Deployment, seconds: float, requests: int) -> None:
        """A call for so many requests was answered, be it with an error of the model."""
        load = self._of(deployment)
        load.pace.note(seconds / self._instances.get(deployment.name, 1), requests)
        load.breaker.on_answered()

    def on_lost(self, deployment: Deployment) -> bool:
        """A call was not answered; whether nothing shall be asked of the version for a while."""
        return self._of(deployment).breaker.on_lost(self._clock())

    def set_instances(self, name: str, count: int) -> None:
        """So many calls are answered at once; one of a version of which nothing is known."""
        self._instances.pop(name, None)
        if count > 1:
            self._instances[name] = count

    def forget(self, name: str) -> None:
        """The version is loaded anew, or gone."""
        if load := self._loads.get(name):
            load.forget()

    def keep(self, names: Set[str]) -> None:
        """Forget all others but those that have something to answer."""
        self._loads = {name: load for name, load in self._loads.items() if name in names or load.unanswered}

    def _of(self, deployment: Deployment) -> Load:
        if (load := self._loads.get(deployment.name)) is None:
            load = self._loads[deployment.name] = Load(self._projects[deployment.project])
        return load


def _whole(seconds: float) -> int:
    return min(RETRY_SECONDS_MAX, max(1, math.ceil(seconds)))
