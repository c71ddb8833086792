"""The state machine of a task; pure."""

from shared.errors import Conflict
from shared.events.common import TaskState

MOVES: dict[TaskState, frozenset[TaskState]] = {
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.PAUSED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.RUNNING: frozenset(
        {TaskState.QUEUED, TaskState.PAUSED, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.PAUSED: frozenset({TaskState.QUEUED, TaskState.CANCELLED}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}


def is_final(state: TaskState) -> bool:
    return not MOVES[state]


def move(state: TaskState, to: TaskState) -> TaskState:
    """The next state.

    Raises Conflict when the state machine knows no such move.
    """
    if to not in MOVES[state]:
        raise Conflict(f"a task that is {short(state)} cannot become {short(to)}")
    return to


def short(state: TaskState) -> str:
    """The state as people read it: running, not TASK_STATE_RUNNING."""
    return state.value.removeprefix("TASK_STATE_").lower()
