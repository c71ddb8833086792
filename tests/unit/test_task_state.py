"""The state machine of a task: what ends stays ended, and what runs can always end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Conflict
from shared.events.common import TaskState
from shared.tasks.state import MOVES, is_final, move, short

STATES = st.sampled_from(list(MOVES))
ENDS = {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}


def test_every_state_that_a_task_can_have_is_known() -> None:
    assert set(MOVES) == set(TaskState) - {TaskState.UNSPECIFIED}
    assert {state for state in MOVES if is_final(state)} == ENDS


@given(STATES, STATES)
def test_a_move_is_made_or_refused_in_words(state: TaskState, to: TaskState) -> None:
    if to in MOVES[state]:
        assert move(state, to) is to
    else:
        with pytest.raises(Conflict, match=f"that is {short(state)} cannot become {short(to)}"):
            move(state, to)


@given(st.lists(STATES, max_size=30))
def test_a_task_ends_at_most_once(wishes: list[TaskState]) -> None:
    state, ends = TaskState.QUEUED, 0
    for wish in wishes:
        if wish in MOVES[state]:
            state = move(state, wish)
            ends += is_final(state)
        assert state in MOVES
    assert ends == is_final(state)


@given(STATES)
def test_whatever_has_not_ended_can_be_cancelled_and_nothing_else_is(state: TaskState) -> None:
    assert (TaskState.CANCELLED in MOVES[state]) == (not is_final(state))


@given(STATES)
def test_only_a_running_task_succeeds(state: TaskState) -> None:
    assert (TaskState.SUCCEEDED in MOVES[state]) == (state is TaskState.RUNNING)


@given(STATES)
def test_what_fails_ran_or_waited_for_what_did_not_succeed(state: TaskState) -> None:
    assert (TaskState.FAILED in MOVES[state]) == (state in (TaskState.RUNNING, TaskState.QUEUED))


@given(STATES)
def test_whatever_has_not_ended_can_rest_and_go_on(state: TaskState) -> None:
    assert (TaskState.PAUSED in MOVES[state]) == (state in (TaskState.RUNNING, TaskState.QUEUED))
    assert TaskState.QUEUED in MOVES[TaskState.PAUSED]


@given(STATES)
def test_only_a_waiting_task_is_taken(state: TaskState) -> None:
    assert (TaskState.RUNNING in MOVES[state]) == (state is TaskState.QUEUED)


@given(st.sampled_from(list(TaskState)))
def test_short_names_are_lower_case_words(state: TaskState) -> None:
    assert f"TASK_STATE_{short(state).upper()}" == state.value
