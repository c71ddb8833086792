"""When a schedule is due, and which events it answers; pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim, CronSimError

from shared.errors import InvalidInput
from shared.rpc.trainer import PutSchedule, Trigger


def check(asked: PutSchedule) -> None:
    """Raises InvalidInput unless there is either a time or an event."""
    if (asked.cron is None) == (asked.on is None):
        raise InvalidInput("cron: give either `cron`, such as '0 3 * * *', or `on`, an event", field="cron")
    if asked.cron is not None:
        next_after(asked.cron, datetime.now(UTC))


def next_after(cron: str, now: datetime) -> datetime:
    """The next time, in UTC, of the five fields minute, hour, day, month and weekday.

    Raises InvalidInput for what is no such expression, or never comes.
    """
    try:
        return next(CronSim(cron, now))
    except (CronSimError, StopIteration) as error:
        message = f"cron: {cron!r} is no time that comes: five fields as in '30 3 * * MON' ({error})"
        raise InvalidInput(message, field="cron") from error


def answers(trigger: Trigger, data: Mapping[str, Any]) -> bool:
    """Whether an event of the right type has the values that the trigger asks for."""
    return all(data.get(name) == value for name, value in trigger.where.items())
