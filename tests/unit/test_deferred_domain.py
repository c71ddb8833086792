"""The life of a deferred request, for any sequence of what may happen to it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.deferred.domain import (
    MOST_ATTEMPTS,
    MOVES,
    PASSING,
    PAUSE_SECONDS_MAX,
    Inference,
    State,
    check_room,
    id_of,
    is_final,
    is_needed,
    may_pass,
    move,
    outcome,
    pause,
)
from shared.errors import Conflict, InvalidInput, ModelFailed, NotFound, TooManyPending, Unavailable

STATUSES = st.sampled_from([200, 400, 404, 413, 429, 499, 500, 503, 504])
CHANCES = st.floats(0, 1)
INFERENCE = Inference(
    id="01890000-0000-7000-8000-000000000000",
    project="default",
    model="m",
    version=None,
    size=1,
    header_length=None,
    context={},
    state=State.QUEUED,
    note="",
    fence=0,
    attempts=0,
    status=None,
    reply_version=None,
    reply_header_length=None,
    reply_size=None,
    retry_after=None,
    webhook=None,
    delivery=None,
    deliveries=0,
    deliver_after=None,
    delivery_problem="",
    created_at=datetime.now(UTC),
    started_at=None,
    ended_at=None,
)


@given(st.lists(st.sampled_from(State)))
def test_what_has_ended_stays_as_it_is(wishes: list[State]) -> None:
    """Whatever is wished for, the states that are passed follow the table, and none follows an end."""
    passed = [State.QUEUED]
    for wish in wishes:
        if wish in MOVES[passed[-1]]:
            passed.append(move(passed[-1], wish))
        else:
            with pytest.raises(Conflict, match=wish.value):
                move(passed[-1], wish)
    assert not any(is_final(state) for state in passed[:-1])
    answered = [before for before, after in pairwise(passed) if after in (State.DONE, State.FAILED)]
    assert set(answered) <= {State.RUNNING}


@given(st.lists(STATUSES, min_size=MOST_ATTEMPTS, max_size=3 * MOST_ATTEMPTS), st.integers(0, 30))
def test_every_request_comes_to_an_end(statuses: list[int], late_after: int) -> None:
    """Within as many attempts as there may be; only what may pass is asked for again."""
    state, attempts = State.QUEUED, 0
    for status in statuses:
        attempts += 1
        state = move(move(state, State.RUNNING), outcome(status, attempts, is_late=attempts > late_after))
        if is_final(state):
            break
        assert status in PASSING
    assert is_final(state)
    assert attempts <= min(MOST_ATTEMPTS, late_after + 1)
    assert (state is State.DONE) == (status == 200)


@given(st.integers(0, 1000), CHANCES)
def test_pauses_grow_and_are_bounded(turn: int, chance: float) -> None:
    assert 0 < pause(turn, chance) <= PAUSE_SECONDS_MAX
    assert pause(turn, 0) <= pause(turn + 1, 0)
    assert pause(turn, chance) >= pause(turn, 1) / 2


def test_what_says_nothing_of_the_request_may_pass() -> None:
    assert may_pass(Unavailable()) and may_pass(TooManyPending())
    assert not any(may_pass(error) for error in (NotFound(), InvalidInput(), ModelFailed()))


@given(st.integers(0, 20), st.integers(0, 200), st.integers(0, 200))
def test_room_is_bounded_by_count_and_size(count: int, size: int, new: int) -> None:
    has_room = count < 10 and size + new <= 100
    if has_room:
        check_room(count, size, new, 10, 100)
        return
    with pytest.raises(TooManyPending) as refused:
        check_room(count, size, new, 10, 100)
    assert (refused.value.status, refused.value.retry_after) == (429, 5)


@given(st.sampled_from(State), st.integers(0, 5), st.integers(0, 5))
def test_what_is_needed_of_a_request(state: State, fence: int, holder: int) -> None:
    """Its body until it has ended, and the answer of its last holder unless it was cancelled."""
    now = replace(INFERENCE, state=state, fence=fence)
    assert is_needed(now.body_name, now) == (not is_final(state))
    theirs = replace(INFERENCE, fence=holder).answer_name
    assert is_needed(theirs, now) == (holder == fence and state is not State.CANCELLED)
    assert not is_needed(now.body_name, None)
    assert id_of(now.body_name) == id_of(theirs) == now.id
    assert id_of("something-else") is None


def test_it_is_shown_with_its_delivery() -> None:
    assert INFERENCE.view().delivery is None
    away = replace(INFERENCE, webhook="w", delivery="abandoned", deliveries=3, delivery_problem="away")
    shown = away.view().delivery
    assert shown is not None
    assert (shown.webhook, shown.state, shown.attempts) == ("w", "abandoned", 3)
    assert (shown.problem, shown.next_at) == ("away", None)
