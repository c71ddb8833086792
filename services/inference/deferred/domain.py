"""The life of a deferred request: its states, and what an answer or a failure makes of it; pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared.context import HasOrigin
from shared.errors import AimassError, Conflict, TooManyPending
from shared.rpc.inference import DeliveryView, InferenceView

MOST_ATTEMPTS: Final = 10
PAUSE_SECONDS: Final = 0.5
PAUSE_SECONDS_MAX: Final = 30.0
UNSEEN_MOST: Final = 128
PASSING: Final = frozenset({429, 499, 503, 504})


class State(StrEnum):
    """Where a request is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.RUNNING, State.DONE, State.FAILED, State.CANCELLED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


def is_final(state: State) -> bool:
    return not MOVES[state]


def move(state: State, to: State) -> State:
    """The next state; raises Conflict where the state machine knows no such move."""
    if to not in MOVES[state]:
        raise Conflict(f"a request that is {state} cannot become {to}")
    return to


@dataclass(frozen=True)
class Inference(HasOrigin):
    """A row of the table inferences. `fence` counts its holders, `attempts` the calls to its model that were begun
    and may have harmed it.
    """

    id: str
    project: str
    model: str
    version: int | None
    size: int
    header_length: int | None
    context: dict[str, str]
    state: State
    note: str
    fence: int
    attempts: int
    status: int | None
    reply_version: str | None
    reply_header_length: int | None
    reply_size: int | None
    retry_after: int | None
    webhook: str | None
    delivery: str | None
    deliveries: int
    deliver_after: datetime | None
    delivery_problem: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def body_name(self) -> str:
        """Where the body of the request lies."""
        return f"{self.id.replace('-', '')}-request"

    @property
    def answer_name(self) -> str:
        """Where its present holder keeps the answer: no holder writes over another's."""
        return f"{self.id.replace('-', '')}-{self.fence}-answer"

    @property
    def retry_seconds(self) -> int | None:
        """When to look again for an answer, as long as one will come."""
        return None if is_final(self.state) else 1

    def view(self) -> InferenceView:
        return InferenceView(
            id=self.id,
            model=self.model,
            version=self.version,
            state=self.state.value,
            note=self.note,
            attempts=self.attempts,
            status=self.status,
            actor=self.origin.actor,
            correlation_id=self.origin.correlation_id,
            delivery=self._delivery(),
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )

    def _delivery(self) -> DeliveryView | None:
        if self.webhook is None:
            return None
        state, problem = self.delivery or "", self.delivery_problem
        next_at = self.deliver_after if state == "waiting" else None
        return DeliveryView(
            webhook=self.webhook, state=state, attempts=self.deliveries, problem=problem, next_at=next_at
        )


def outcome(status: int, attempts: int, *, is_late: bool) -> State:
    """What an answer makes of a running request: one that may pass is asked for again, unless often or too late."""
    if status == 200:
        return State.DONE
    if status in PASSING and attempts < MOST_ATTEMPTS and not is_late:
        return State.QUEUED
    return State.FAILED


def may_pass(error: AimassError) -> bool:
    """Whether what refuses a request before any call says nothing of the request itself."""
    return error.transient or error.status in PASSING


def pause(turn: int, chance: float) -> float:
    """The seconds before the next attempt: doubling from turn 1 on, with jitter by a chance in 0..1."""
    return min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** min(turn, 10)) * (0.5 + chance / 2)


def is_tight(count: int, size: int, most: int, most_bytes: int) -> bool:
    """Whether those who are being accepted now could together pass the bounds."""
    return count > most - UNSEEN_MOST or size > most_bytes / 2


def check_room(count: int, size: int, new_size: int, most: int, most_bytes: int) -> None:
    """Raises TooManyPending where a project has no room for one more request of this size."""
    if count >= most:
        raise TooManyPending(
            f"{count} deferred requests of this project still wait, the most there may be", retry_after=5
        )
    if size + new_size > most_bytes:
        message = f"deferred requests of this project that still wait have {size} bytes; {most_bytes} is the most"
        raise TooManyPending(message, retry_after=5)


def id_of(name: str) -> str | None:
    """The id of the request that a body of the store belongs to; None for what is not ours."""
    try:
        return str(UUID(hex=name[:32]))
    except ValueError:
        return None


def is_needed(name: str, found: Inference | None) -> bool:
    """Whether a body of the store is still wanted: a request's until its end, an answer of the last holder."""
    if found is None:
        return False
    if name == found.answer_name:
        return found.state is not State.CANCELLED
    return name == found.body_name and not is_final(found.state)
