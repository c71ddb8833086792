"""One mixed run: faults by a seed over a site under load, healed between rounds, audited at the end."""

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded.stack import StackError
from tests.faults.mixed import auditor
from tests.faults.mixed.faults import FAULTS, Done, Skipped
from tests.faults.mixed.journal import Journal
from tests.faults.mixed.load import Load
from tests.faults.mixed.site import Site
from tests.house import House

PATIENCE_SECONDS = 45.0
# What a server does not get over by itself, by the service that says so.
HANGING = {"triton": ("inference", "it waits for ever for a model's process that died while it was loaded")}
HEAL_SECONDS = 240.0
ANSWER_SECONDS = 300.0
SETTLE_SECONDS = 1200.0
AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """A seed, how many faults, how far apart on average, and how many between two times of rest."""

    seed: int
    faults: int = 1000
    pause: float = 1.0
    round: int = 50
    load_pause: float = 0.4


@dataclass
class Result:
    """What was done and found; `wrong` names each broken promise."""

    plan: Plan
    history: Path
    faults: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    operated: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    unanswered: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Run:
    """Carries out one plan."""

    def __init__(self, site: Site, plan: Plan, journal: Journal, say: Callable[[str], None] = print) -> None:
        self.site, self.plan, self.journal, self._say = site, plan, journal, say
        self.result = Result(plan, journal.path)
        self._draws = itertools.count()
        self._undo: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._armed: set[Path] = set()

    def run(self) -> Result:
        begun = time.monotonic()
        self.journal.write("begun", seed=self.plan.seed, faults=self.plan.faults, missing=self.site.missing)
        load = Load(self.site.house, self.journal, str(self.plan.seed), self.plan.load_pause)
        load.start()
        try:
            while self.result.faults.total() < self.plan.faults:
                self._round()
        except StackError as error:
            self.result.wrong.append(f"not ready again: {error}")
        self.result.wrong += load.finish(ANSWER_SECONDS)
        self.result.wrong += auditor.settle(self.site.house, self.journal, SETTLE_SECONDS, self._say)
        self._count(self.site.house)
        self.result.seconds = time.monotonic() - begun
        self.journal.write("ended", faults=dict(self.result.faults), wrong=self.result.wrong)
        return self.result

    def _round(self) -> None:
        wanted = min(self.plan.faults, self.result.faults.total() + self.plan.round)
        while self.result.faults.total() < wanted:
            chance = random.Random(f"{self.plan.seed}-{next(self._draws)}")  # whatever became of those before it
            self._wait(chance.expovariate(1 / self.plan.pause))
            self._do(chance.choices(list(FAULTS), [weight for weight, _ in FAULTS.values()])[0], chance)
            self._look_at_points()
        self._heal()
        self._say(f"{self.result.faults.total()} faults; {dict(self._acknowledged())} acknowledged")

    def _do(self, kind: str, chance: random.Random) -> None:
        try:
            done = FAULTS[kind][1](self.site, chance)
        except Skipped as reason:
            self.result.skipped[f"{kind}: {reason}"] += 1
            return
        self.journal.write("fault", kind=kind, of=done.what, seconds=round(done.seconds, 2))
        if kind != "failpoint armed":  # it counts once it is reached
            self.result.faults[kind] += 1
        self._keep(kind, done)

    def _keep(self, kind: str, done: Done) -> None:
        if done.undo:
            heapq.heappush(self._undo, (time.monotonic() + done.seconds, next(self._order), kind, done.undo))

    def _wait(self, seconds: float) -> None:
        """Undo meanwhile what is due."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            if self._undo and self._undo[0][0] <= now:
                self._undo_first()
            else:
                next_due = self._undo[0][0] if self._undo else deadline
                time.sleep(max(0.0, min(deadline, next_due) - now))

    def _undo_first(self) -> None:
        """What cannot be undone now, as its server is away, is tried again a little later."""
        _, _, kind, undo = heapq.heappop(self._undo)
        try:
            undo()
        except auditor.AWAY as error:
            self.journal.write("still", kind=kind, error=repr(error))
            self._keep(kind, Done(kind, AGAIN_SECONDS, undo))
            return
        self.journal.write("undone", kind=kind)

    def _look_at_points(self) -> None:
        armed = set(self.site.failpoints.glob("*/*"))
        for reached in self._armed - armed:
            self.journal.write("fault", kind="failpoint", of=f"{reached.parent.name} {reached.name}", seconds=0)
            self.result.faults["kill -9 at a failpoint"] += 1
        self._armed = armed

    def _heal(self) -> None:
        deadline = time.monotonic() + HEAL_SECONDS
        while self._undo and time.monotonic() < deadline:
            self._wait(0.2)
        self._look_at_points()
        for file in self._armed:
            file.unlink(missing_ok=True)
            self._armed = set()
        begun = time.monotonic()
        try:
            self.site.stack.wait_ready(seconds=PATIENCE_SECONDS)
        except StackError:
            self._operate()
        self.journal.write("healed", seconds=round(time.monotonic() - begun, 2))

    def _operate(self) -> None:
        """As its operator: end a server that hangs, which the process manager then starts again."""
        for server, (service, why) in HANGING.items():
            if not self.site.stack.is_ready(service):
                self.site.stack.kill(server)
                self.result.operated[f"{server}: {why}"] += 1
                self.journal.write("operator", ended=server, why=why)
        self.site.stack.wait_ready(seconds=HEAL_SECONDS)

    def _acknowledged(self) -> Counter[str]:
        return Counter(line["kind"] for line in self.journal.read("acknowledged"))

    def _count(self, house: House) -> None:
        self.result.acknowledged = self._acknowledged()
        self.result.answered = len(self.journal.read("answered"))
        self.result.unanswered = len(self.journal.read("unanswered"))
        for schema, table in (("trainer", "tasks"), ("evaluator", "tasks"), ("inference", "inferences")):
            for row in house.rows(schema, f"SELECT state, count(*) AS times FROM {table} GROUP BY state"):
                self.result.ended[f"{schema} {row['state'].removeprefix('TASK_STATE_').lower()}"] += row["times"]


def report(result: Result) -> list[str]:
    """What a reader wants to know of a run, in lines."""
    lines = [f"seed {result.plan.seed}, {result.faults.total()} faults in {result.seconds / 60:.1f} min:"]
    lines += [f"  {count:>5}  {kind}" for kind, count in result.faults.most_common()]
    lines += [f"skipped: {count} x {reason}" for reason, count in sorted(result.skipped.items())]
    lines.append(f"acknowledged: {result.acknowledged.total()} ({_listed(result.acknowledged)})")
    lines += [f"ended by its operator: {count} x {what}" for what, count in result.operated.items()]
    lines.append(f"ended: {_listed(result.ended)}")
    lines.append(
        f"predictions: {result.answered} answered and right, {result.unanswered} unanswered, which is no promise"
    )
    lines += [f"BROKEN {wrong}" for wrong in result.wrong] or ["0 acknowledged lost, 0 second effects, all ended"]
    lines.append(f"history: {result.history}")
    return lines


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
