"""What counts as use, where an invoice's lines come from, and when a quota is used up; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from shared.errors import InvalidInput
from shared.events.common import TaskState
from shared.events.storage import StorageHeld
from shared.events.tasks import TaskChanged
from shared.events.usage import UsageCounted
from shared.rpc.usage import InvoiceLine, PriceList, Unit

GIGABYTE = Decimal(10**9)
MICROSECONDS = Decimal(10**6)
TRAINING = ("train",)
STORAGE = "storage"
LEADING = ("tune",)  # their trials are tasks of their own
CENT = Decimal("0.01")
BILLIONTH = Decimal("1e-9")
MOST_DAYS = 400
Row = tuple[Any, ...]


def count_rows(event: UsageCounted, project: str) -> list[Row]:
    """The values of UPSERT_COUNT; raises InvalidInput for a day that is none, and for counts below zero."""
    try:
        day = date.fromisoformat(event.day)
    except ValueError:
        raise InvalidInput(f"{event.day!r} is not a day", field="day") from None
    rows = [
        (project, day, each.kind, each.model, each.identity, event.run)
        + (each.requests, each.errors, each.compute_us, each.input_bytes, each.output_bytes)
        for each in event.counts
    ]
    if any(number < 0 for row in rows for number in row[6:]):
        raise InvalidInput("a counter is below zero", field="counts")
    return rows


def attempt_row(task: TaskChanged, project: str, at: datetime) -> Row | None:
    """The values of UPSERT_ATTEMPT; nothing for a task that never ran."""
    if task.attempt < 1:
        return None
    runs = task.state is TaskState.RUNNING
    times = (at, at, None) if runs else (None, None, at)
    return (project, task.task_id, task.attempt, task.kind, task.model, task.actor, *times)


def storage_row(event: StorageHeld) -> Row:
    """The values of UPSERT_STORAGE; raises InvalidInput for a number below zero, and without a time."""
    if event.at is None or event.bytes_held < 0:
        raise InvalidInput("bytes are zero or more at a time", field="at" if event.at is None else "bytes_held")
    return (event.project, event.at.replace(minute=0, second=0, microsecond=0), event.at, event.bytes_held)


def check_days(since: date, until: date) -> None:
    if until < since:
        raise InvalidInput("the last day is before the first: exchange `from` and `to`", field="to")
    if (until - since).days >= MOST_DAYS:
        raise InvalidInput(f"at most {MOST_DAYS} days at once: ask for fewer", field="from")


def month_days(month: str) -> tuple[date, date]:
    """The first and the last day of a month such as 2030-01."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


@dataclass(frozen=True)
class DayUse:
    """What was used on a day in one way; errors are among the requests."""

    day: date
    kind: str
    requests: int
    errors: int
    compute_us: int
    input_bytes: int
    output_bytes: int
    byte_hours: int = 0


def quantities(use: DayUse) -> dict[Unit, Decimal]:
    """The units that a use is, exact to the 50th digit; what ended in an error costs nothing."""
    seconds = use.compute_us / MICROSECONDS
    if use.kind == "infer":
        return {
            "infer_request": Decimal(use.requests - use.errors),
            "infer_second": seconds,
            "infer_input_gigabyte": use.input_bytes / GIGABYTE,
            "infer_output_gigabyte": use.output_bytes / GIGABYTE,
        }
    if use.kind == "api":
        return {"api_request": Decimal(use.requests - use.errors)}
    if use.kind == STORAGE:
        return {"storage_gigabyte_hour": use.byte_hours / GIGABYTE}
    if use.kind in LEADING:
        return {}
    return {"training_minute": seconds / 60} if use.kind in TRAINING else {"task_second": seconds}


def prices_on(day: date, lists: Iterable[PriceList]) -> PriceList | None:
    """The list that counts on a day: the last one that began."""
    begun = [each for each in lists if each.valid_from <= day]
    return max(begun, key=lambda each: each.valid_from, default=None)


def invoice_lines(uses: Iterable[DayUse], lists: Sequence[PriceList]) -> list[InvoiceLine]:
    """A line for each unit and price; quantities are added up before they are multiplied."""
    sums: dict[tuple[str, Decimal], tuple[Decimal, date, date]] = {}
    with localcontext(prec=50):
        for use in uses:
            prices = prices_on(use.day, lists)
            for unit, quantity in quantities(use).items() if prices else ():
                price = prices.prices.get(unit) if prices else None
                if price is None or not quantity:
                    continue
                known, since, until = sums.get((unit, price), (Decimal(0), use.day, use.day))
                sums[unit, price] = (known + quantity, min(since, use.day), max(until, use.day))
        return [_line(unit, price, *found) for (unit, price), found in sorted(sums.items())]


def _line(unit: str, price: Decimal, quantity: Decimal, since: date, until: date) -> InvoiceLine:
    """Minutes are seldom whole: what is beyond a billionth is rounded, once a line, so that amounts can be checked."""
    rounded = quantity.quantize(BILLIONTH, ROUND_HALF_UP)
    quantity = quantity if quantity == rounded else rounded
    amount = quantity * price
    return InvoiceLine(unit=unit, quantity=quantity, price=price, amount=amount, since=since, until=until)


def total(lines: Iterable[InvoiceLine]) -> Decimal:
    """Rounded once, so that it does not matter into how many lines a month falls."""
    with localcontext(prec=50):
        return sum((line.amount for line in lines), Decimal(0)).quantize(CENT, ROUND_HALF_UP)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
