"""Times, chains and counters hold together whatever arrives, in whatever order."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain import Loss, causal_order, count_loss, moment, prediction_blocks
from shared.errors import InvalidInput
from shared.events.predictions import Prediction, PredictionColumns, PredictionsLogged
from shared.rpc.monitor import TimelineEntry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OFFSETS = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
IDS = st.sampled_from("abcdef")
ENTRIES = st.lists(
    st.builds(
        TimelineEntry,
        id=IDS,
        type=st.just("t"),
        source=st.just("s"),
        subject=st.just("x"),
        sequence=st.integers(0, 3),
        at=st.integers(0, 5).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        causation_id=IDS | st.just(""),
    ),
    unique_by=lambda entry: entry.id,
)


@given(st.datetimes(timezones=OFFSETS))
def test_a_time_is_read_back_and_never_lies_ahead(at: datetime) -> None:
    assert moment(at.isoformat(), NOW) == min(at, NOW)


def test_an_envelope_may_have_no_time_but_no_other_text() -> None:
    assert moment("", NOW) == NOW
    assert moment("2026-01-01T00:00:00Z", NOW) == moment("2026-01-01T00:00:00", NOW) == NOW - timedelta(days=1)
    with pytest.raises(InvalidInput, match="RFC 3339"):
        moment("yesterday", NOW)


@given(ENTRIES)
def test_a_chain_keeps_every_event_once(entries: list[TimelineEntry]) -> None:
    assert sorted(entry.id for entry in causal_order(entries)) == sorted(entry.id for entry in entries)


@given(ENTRIES)
def test_no_event_comes_before_its_cause(entries: list[TimelineEntry]) -> None:
    causes = {entry.id: entry.causation_id for entry in entries}
    place = {entry.id: index for index, entry in enumerate(causal_order(entries))}
    for entry in entries:
        if entry.causation_id in place and not in_circle(entry.id, causes):
            assert place[entry.causation_id] < place[entry.id]


def in_circle(event_id: str, causes: dict[str, str]) -> bool:
    """Whether the way back through the causes never ends."""
    seen: set[str] = set()
    while event_id in causes and event_id not in seen:
        seen.add(event_id)
        event_id = causes[event_id]
    return event_id in seen


@given(ENTRIES)
def test_without_causes_time_decides(entries: list[TimelineEntry]) -> None:
    free = [entry.model_copy(update={"causation_id": ""}) for entry in entries]
    times = [(entry.at, entry.sequence) for entry in causal_order(free)]
    assert times == sorted(times)


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=4))
def test_losses_of_all_runs_add_up(runs: list[list[int]]) -> None:
    """Each run counts from zero, and its first message says so."""
    loss, expected, number = Loss(), 0, 0
    for steps in runs:
        counter = 0
        for step in (0, *steps):
            counter += step
            number += 1
            loss = count_loss(loss, f"{number:04}", counter)
            assert count_loss(loss, f"{number:04}", counter) == loss
            assert count_loss(loss, f"{number - 1:04}", counter + 9) == loss
        expected += counter
    assert loss.total == expected


def test_predictions_carry_ids_and_times() -> None:
    early = NOW - timedelta(hours=1)
    rows = (Prediction(prediction_id="2", at=early), Prediction(prediction_id="1"))
    (block,) = prediction_blocks(PredictionsLogged(rows=rows), NOW)
    assert (block.columns[0], block.columns[-1]) == (("2", "1"), (early.timestamp(), NOW.timestamp()))
    assert block.bounds == (False, 2, "1", "2", early.timestamp(), NOW.timestamp())
    with pytest.raises(InvalidInput, match="no id"):
        prediction_blocks(PredictionsLogged(rows=(Prediction(),)), NOW)


def test_nothing_was_answered_after_it_was_heard_of() -> None:
    (block,) = prediction_blocks(
        PredictionsLogged(rows=(Prediction(prediction_id="1", at=NOW + timedelta(days=9)),)), NOW
    )
    assert block.columns[-1] == (NOW.timestamp(),)


def test_a_message_without_rows_has_no_block() -> None:
    assert prediction_blocks(PredictionsLogged(dropped=3), NOW) == []


TOLD = PredictionColumns(
    prediction_ids=("1",),
    versions=(2,),
    statuses=(200,),
    latencies_us=(3,),
    batches=(4,),
    key_ids=("key",),
    trace_ids=("trace",),
    evaluations=(True,),
    times=(5.5,),
)


def test_rows_join_columns_of_one_length() -> None:
    rows = (Prediction(prediction_id="2", at=NOW, evaluation=True),)
    (block,) = prediction_blocks(PredictionsLogged(columns=TOLD, rows=rows), NOW)
    assert block.evaluation
    assert block.columns == (
        *[("1", "2"), (2, 0), (200, 0), (3, 0), (4, 0), ("key", ""), ("trace", "")],
        (5.5, NOW.timestamp()),
    )
    with pytest.raises(InvalidInput, match="several lengths"):
        prediction_blocks(PredictionsLogged(columns=TOLD.model_copy(update={"times": ()})), NOW)


def test_what_evaluations_asked_is_kept_apart() -> None:
    rows = tuple(Prediction(prediction_id=name, evaluation=name == "3", at=NOW) for name in "234")
    served, evaluated = prediction_blocks(PredictionsLogged(columns=TOLD, rows=rows), NOW)
    assert (served.evaluation, served.columns[0]) == (False, ("2", "4"))
    assert (evaluated.evaluation, evaluated.columns[0]) == (True, ("1", "3"))
