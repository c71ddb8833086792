"""When schedules are due, and which events they answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.schedules.domain import answers, check, next_after
from shared.errors import InvalidInput
from shared.rpc.trainer import PutSchedule, SubmitTask, Trigger

MOMENTS = st.integers(1_600_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TASK = SubmitTask(model="digits-cnn")


@given(MOMENTS, st.integers(0, 59), st.integers(0, 23))
def test_a_daily_time_comes_within_a_day_and_never_now(now: datetime, minute: int, hour: int) -> None:
    found = next_after(f"{minute} {hour} * * *", now)
    assert now < found <= now + timedelta(days=1)
    assert (found.minute, found.hour, found.second, found.tzinfo) == (minute, hour, 0, UTC)


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "soon", "0 25 * * *"])
def test_a_time_that_never_comes_is_refused_in_words(cron: str) -> None:
    with pytest.raises(InvalidInput, match="cron: .* is no time that comes: five fields") as refused:
        next_after(cron, datetime(2026, 1, 1, tzinfo=UTC))
    assert refused.value.field == "cron"


@pytest.mark.parametrize("given", [{}, {"cron": "* * * * *", "on": {"event": "version_promoted"}}])
def test_there_is_a_time_or_an_event(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="either `cron`"):
        check(PutSchedule(name="nightly", task=TASK, **given))


def test_an_event_is_answered_when_its_fields_are_as_asked() -> None:
    trigger = Trigger(event="version_promoted", where={"model": "digits-cnn", "version": 2})
    assert answers(trigger, {"model": "digits-cnn", "version": 2, "digest": "any"})
    assert not answers(trigger, {"model": "digits-cnn", "version": 3})
    assert not answers(trigger, {"model": "digits-cnn"})
    assert answers(Trigger(event="version_promoted"), {})
