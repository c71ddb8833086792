"""When a quota is used up, and what follows; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple

from services.monitor.usage.domain import TRAINING, DayUse
from shared.events.base import Event
from shared.events.quotas import QuotaExceeded, QuotaNearing
from shared.quotas import STORAGE_BYTES, UsedUp
from shared.rpc.usage import QuotaView

NEAR: Final = 80  # percent of the hard limit, where no soft one is set
WITHIN, NEARING, EXCEEDED = 0, 1, 2
LEVELS: Final[tuple[Literal["within", "nearing", "exceeded"], ...]] = ("within", "nearing", "exceeded")


class Measure(NamedTuple):
    """What a quota adds up, over which time, and how many of it make one."""

    period: Literal["day", "month", ""]
    kinds: tuple[str, ...] = ()
    column: Literal["requests", "compute_us"] = "requests"
    of: int = 1
    at_gateway: bool = False


INFER = ("infer",)
MEASURES: Final[dict[str, Measure]] = {
    "requests_per_day": Measure("day", INFER, at_gateway=True),
    "requests_per_month": Measure("month", INFER, at_gateway=True),
    "compute_seconds_per_day": Measure("day", INFER, "compute_us", 10**6, at_gateway=True),
    "compute_seconds_per_month": Measure("month", INFER, "compute_us", 10**6, at_gateway=True),
    "training_minutes_per_month": Measure("month", TRAINING, "compute_us", 60 * 10**6),
    "concurrent_tasks": Measure(""),
    "storage_bytes": Measure(""),
}


@dataclass(frozen=True)
class Known:
    """A quota of a project and what was last said of it."""

    quota: str
    soft: int | None
    hard: int | None
    level: int = WITHIN
    period: str = ""
    refused: int | None = None


@dataclass(frozen=True)
class Judged:
    """How a quota stands: `refused` is the limit that refuses more."""

    quota: str
    soft: int | None
    hard: int | None
    used: int
    level: int
    renews_on: date | None

    @property
    def period(self) -> str:
        return self.renews_on.isoformat() if self.renews_on else ""

    @property
    def refused(self) -> int | None:
        return self.hard if self.level == EXCEEDED else None

    def view(self) -> QuotaView:
        return QuotaView(
            quota=self.quota,
            soft=self.soft,
            hard=self.hard,
            used=self.used,
            level=LEVELS[self.level],
            renews_on=self.renews_on,
        )

    def used_up(self) -> UsedUp:
        return UsedUp(quota=self.quota, limit=self.hard or 0, renews_on=self.renews_on)


def renewal(quota: str, today: date) -> date | None:
    """The day on which a quota begins anew; none for what does not add up."""
    period = MEASURES[quota].period
    if period == "day":
        return today + timedelta(days=1)
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1) if period else None


class Now(NamedTuple):
    """What a project has at once: tasks that are not over, and bytes that it keeps."""

    tasks: int
    stored: int = 0


def used(quota: str, uses: Iterable[DayUse], now: Now, today: date) -> int:
    """Whole ones; what is begun counts once it is whole. `uses` are those of the month."""
    measure = MEASURES[quota]
    if not measure.period:
        return now.stored if quota == STORAGE_BYTES else now.tasks
    counted = (use for use in uses if use.kind in measure.kinds and (measure.period == "month" or use.day == today))
    return sum(int(getattr(use, measure.column)) for use in counted) // measure.of


def judge(known: Known, uses: Sequence[DayUse], now: Now, today: date) -> Judged:
    amount = used(known.quota, uses, now, today)
    return Judged(known.quota, known.soft, known.hard, amount, level_of(known, amount), renewal(known.quota, today))


def level_of(known: Known, amount: int) -> int:
    if known.hard is not None and amount >= known.hard:
        return EXCEEDED
    if known.soft is not None:
        return NEARING if amount >= known.soft else WITHIN
    return NEARING if known.hard is not None and amount * 100 >= known.hard * NEAR else WITHIN


def to_say(known: Known, judged: Judged) -> Event | None:
    """What is news: a level is said once on the way up, and again when it is reached after the quota began anew."""
    before = known.level if known.period == judged.period else WITHIN
    if judged.level <= before:
        return None
    facts = {"quota": judged.quota, "used": judged.used, "renews_on": judged.period}
    if judged.level == EXCEEDED:
        return QuotaExceeded(limit=judged.hard, **facts)
    return QuotaNearing(limit=judged.hard if judged.soft is None else judged.soft, **facts)


def refuses_predictions(judged: Iterable[Judged]) -> tuple[UsedUp, ...]:
    return tuple(each.used_up() for each in judged if each.level == EXCEEDED and MEASURES[each.quota].at_gateway)


def refuses_files(judged: Iterable[Judged]) -> UsedUp | None:
    return next((each.used_up() for each in judged if each.level == EXCEEDED and each.quota == STORAGE_BYTES), None)


def refuses_task(judged: Iterable[Judged], kind: str) -> UsedUp | None:
    """The quota that refuses one more task: the one that renews last, as waiting for another would not help."""
    found = [
        each.used_up()
        for each in judged
        if each.level == EXCEEDED
        and (each.quota == "concurrent_tasks" or (each.quota == "training_minutes_per_month" and kind in TRAINS))
    ]
    return max(found, key=lambda each: each.renews_on or date.min, default=None)


TRAINS: Final = (*TRAINING, "tune", "pipeline")
