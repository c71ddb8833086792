"""What is rebuilt and what is not, and how a state before and after is compared; pure."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from services.monitor.domain import moment
from services.monitor.rows import event_row
from shared.dispatch import context_of
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import InvalidInput
from shared.events.base import EXTENSION_TYPES, Event, Foreign
from shared.reading import Stored

REBUILT = ("timeline", "task_list")
LEFT_OUT = {
    "prediction_blocks": "from the stream of predictions, which drops its oldest when it is full",
    "losses": "counters over all time, of predictions",
    "audit": "chained in the order in which it was heard: built anew it would prove nothing; it is verified instead",
    "audit_head": "the end of that chain",
    "dead_letters": "decisions of people about the stream of dead letters, which monitor itself makes",
    "task_edge": "tasks as they were before the oldest event that is kept: this is where a rebuilding begins",
    "history": "since when all changes are kept",
    "usage_counts": "from the stream of usage, which keeps fewer days; what it holds may be heard again at any time",
    "usage_storage": "from the stream of usage too",
    "usage_attempts": "when tasks ran, as far back as nobody keeps events",
    "prices": "decisions of people",
    "quotas": "decisions of people",
    "quota_states": "what was last said of quotas",
    "replays": "how far this rebuilding is",
}


@dataclass(frozen=True)
class State:
    """Count and sum of the digests of rows, whatever their order; states of parts add up."""

    rows: int = 0
    high: int = 0
    low: int = 0

    def __add__(self, other: "State") -> "State":
        return State(self.rows + other.rows, self.high + other.high, self.low + other.low)

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.rows} {self.high} {self.low}".encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """How a rebuilt projection differs from the one before."""

    changed: int = 0
    missing: int = 0
    surplus: int = 0

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(self.changed + other.changed, self.missing + other.missing, self.surplus + other.surplus)


@dataclass(frozen=True)
class Verdict:
    """A projection before and after."""

    table: str
    before: State
    after: State
    difference: Difference

    def told(self) -> str:
        rows = f"{self.table:<10} {self.after.rows:>10,} rows  {self.before.digest[:16]}"
        if self.before == self.after:
            return f"{rows}  the same"
        mended = ", ".join(f"{count:,} {name}" for name, count in vars(self.difference).items() if count)
        return f"{rows} → {self.after.digest[:16]}  mended: {mended}"


def read_row(stored: Stored, heard: dict[str, type[Event]]) -> tuple[Any, ...] | None:
    """The row that monitor's handler makes of a message; None for what it does not hear or cannot read."""
    try:
        envelope = read_envelope(stored.subject, stored.headers, stored.data, stored.sequence, stored.at)
        kind = Foreign if envelope.type.startswith(EXTENSION_TYPES) else heard.get(envelope.type)
        return None if kind is None else _row(envelope, kind.model_validate(read_data(stored.headers, stored.data)))
    except (InvalidInput, ValueError):  # such as JSON that is none: a dead letter of monitor's
        return None


def _row(envelope: Envelope, event: Event) -> tuple[Any, ...]:
    assert envelope.stored_at is not None
    at = moment(envelope.time, envelope.stored_at)
    return event_row(envelope, context_of(envelope), at, json.loads(event.model_dump_json()))
