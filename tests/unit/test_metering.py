"""Counters that only grow: whatever is told twice, late, out of order or never, nothing counts twice."""

import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.metering import EPOCH, MOST_KEYS, Counters, seconds_until
from services.monitor.quotas.domain import (
    EXCEEDED,
    Known,
    Now,
    judge,
    level_of,
    refuses_files,
    refuses_predictions,
    refuses_task,
    to_say,
)
from services.monitor.usage.domain import DayUse, count_rows, storage_row
from services.registry.holding import is_news
from shared.errors import QuotaUsedUp
from shared.events.quotas import QuotaExceeded, QuotaNearing
from shared.events.storage import StorageHeld
from shared.quotas import UsedUp

KEYS = st.tuples(
    st.integers(100, 102),
    st.sampled_from(["p", "q"]),
    st.sampled_from("ab"),
    st.sampled_from(["m", "n"]),
    st.just("infer"),
)
CALL = st.tuples(st.just("call"), KEYS, st.sampled_from([200, 400, 503]))
STEPS = st.lists(st.one_of(CALL, st.sampled_from([("tell",), ("fail",), ("end",)])), max_size=60)


def fold(kept: dict[Any, list[int]], project: str, event: Any) -> None:
    """As UPSERT_COUNT does."""
    for row in count_rows(event, project):
        kept[row[:6]] = [max(a, b) for a, b in zip(kept.get(row[:6], [0] * 5), row[6:], strict=True)]


@given(STEPS, st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_give_the_truth(steps: list[Any], chance: Any) -> None:
    truth: dict[Any, int] = defaultdict(int)
    counters, said = Counters(), []
    for step, *facts in [*steps, ("end",)]:
        if step == "call":
            key, status = facts
            counters.add(key, status, 0.001, 2, 3)
            truth[key] += 1
            continue
        told = list(counters.untold())
        for each in told[: len(told) // 2] if step == "fail" else told:
            counters.is_told(each)
            said.append(each)
        counters.forget(chance.choice([0, 102, 103]))
        if step == "end":  # a drain, and another run after it
            counters = Counters()
    said += chance.choices(said, k=len(said)) if said else []
    chance.shuffle(said)
    kept: dict[Any, list[int]] = {}
    for each in said:
        fold(kept, each.project, each.event)
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * 5)
    for (project, day, kind, model, identity, _), row in kept.items():
        key = ((day - EPOCH).days, project, identity, model, kind)
        found[key] = [a + b for a, b in zip(found[key], row, strict=True)]
    assert {key: row[0] for key, row in found.items()} == truth
    assert all(row[2] == 1000 * (row[0] - row[1]) and row[3:] == [2 * row[0], 3 * row[0]] for row in found.values())


def test_made_up_names_fill_no_memory() -> None:
    counters = Counters()
    for number in range(50):
        counters.add((1, "p", "k", f"model-{number}", "infer"), 404, 0, 0, 0)
    [told] = counters.untold()
    assert [(each.model, each.requests) for each in told.event.counts] == [("", 50)]
    counters = Counters()
    for number in range(MOST_KEYS + 10):
        counters.add((1, "p", "k", f"model-{number}", "infer"), 503, 0, 0, 0)
    counts = [each for told in counters.untold() for each in told.event.counts]
    assert len(counts) == MOST_KEYS + 1 and sum(each.requests for each in counts) == MOST_KEYS + 10


def test_a_quota_that_began_anew_refuses_nothing() -> None:
    today = EPOCH + timedelta(days=int(time.time()) // 86400)
    assert seconds_until(today, time.time()) <= 0 < seconds_until(today + timedelta(days=1), time.time()) <= 86400
    assert seconds_until(None, time.time()) == 3600
    told = UsedUp(quota="requests_per_day", limit=10, renews_on=date(2030, 1, 2)).told()
    assert "requests_per_day" in told and "2030-01-02" in told and "administrator" in told
    assert QuotaUsedUp(told).status == 429


LIMITS = st.one_of(st.none(), st.integers(0, 100))


@given(LIMITS, LIMITS, st.integers(0, 150), st.integers(0, 150))
def test_levels_rise_with_use(soft: int | None, hard: int | None, amount: int, more: int) -> None:
    known = Known("requests_per_day", soft, hard)
    assert level_of(known, amount) <= level_of(known, amount + more)
    assert (level_of(known, amount) == EXCEEDED) == (hard is not None and amount >= hard)


def test_what_is_news_is_said_once_a_period() -> None:
    day = date(2030, 1, 31)
    known = Known("requests_per_day", None, 10)
    for amount, expected in ((7, None), (8, QuotaNearing), (10, QuotaExceeded)):
        judged = judge(known, [DayUse(day, "infer", amount, 0, 0, 0, 0)], Now(0), day)
        event = to_say(known, judged)
        assert (type(event) if event else None) == expected
        again = Known("requests_per_day", None, 10, judged.level, judged.period, judged.refused)
        assert to_say(again, judged) is None
    assert judged.renews_on == date(2030, 2, 1)
    tomorrow = judge(again, [DayUse(day, "infer", 10, 0, 0, 0, 0)], Now(0), day + timedelta(days=1))
    assert tomorrow.used == 0 and tomorrow.refused is None
    at_once = judge(again, [DayUse(date(2030, 2, 1), "infer", 12, 0, 0, 0, 0)], Now(0), date(2030, 2, 1))
    assert isinstance(to_say(again, at_once), QuotaExceeded)


def test_a_full_project_is_refused_files_alone() -> None:
    known, day = Known("storage_bytes", None, 100), date(2030, 1, 31)
    full, room = judge(known, [], Now(7, 100), day), judge(known, [], Now(7, 99), day)
    assert refuses_files([room]) is None and room.renews_on is None
    found = refuses_files([full])
    assert found is not None and "delete versions" in found.told() and "100" in found.told()
    assert not refuses_predictions([full]) and refuses_task([full], "train") is None


HOUR = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTES = st.integers(0, 600).map(lambda number: HOUR + timedelta(minutes=number))


@given(MINUTES, MINUTES, st.integers(0, 9), st.integers(0, 9))
def test_what_is_kept_is_said_when_it_changes_and_each_hour(
    at: datetime, now: datetime, before: int, size: int
) -> None:
    assert is_news(None, now, size)
    assert is_news((at, before), now, size) == (before != size or (size > 0 and at.hour != now.hour))
    row = storage_row(StorageHeld(project="p", at=now, bytes_held=size))
    assert row == ("p", now.replace(minute=0), now, size)
