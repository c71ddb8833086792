"""What a dead letter tells, what may be decided about it, and the message that goes out once more; pure."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

from shared.envelope import ORIGINAL_POSITION, ORIGINAL_SUBJECT
from shared.errors import Conflict
from shared.inbox import BUS_HEADER, OWN_HEADER, STACK_HEADER
from shared.names import DEFAULT_PROJECT
from shared.reading import Stored
from shared.rpc.monitor import DeadLetter, DeadLetterContent, LetterState

PREFIX = "dlq-"


@dataclass(frozen=True)
class Letter:
    """A row of dead_letters; `headers` are those of the message before it was given up."""

    id: str
    position: int
    project: str
    service: str
    type: str
    subject: str
    event_id: str
    error_class: str
    error: str
    stack: str
    deliveries: int
    correlation_id: str
    traceparent: str
    headers: dict[str, str]
    payload: bytes
    state: LetterState = "waiting"
    at: datetime | None = None
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""

    def view(self) -> DeadLetter:
        return DeadLetter.model_validate(self, from_attributes=True)

    def content(self) -> DeadLetterContent:
        text, encoding = _shown(self.payload)
        given: dict[str, Any] = vars(self) | {"payload": text, "encoding": encoding}
        return DeadLetterContent(**given)


def read_letter(stored: Stored) -> Letter:
    """From a message of the stream of dead letters; what it does not tell is empty."""
    told = stored.headers
    subject = told.get(ORIGINAL_SUBJECT, "")
    tokens = subject.split(".")
    service = stored.subject.split(".")[1]
    return Letter(
        id=told.get("Nats-Msg-Id", "").removeprefix(PREFIX) or f"{service}-DLQ-{stored.sequence}",
        position=stored.sequence,
        project=tokens[1] if len(tokens) > 1 else DEFAULT_PROJECT,
        service=service,
        type=unquote(told.get("ce-type", "")),
        subject=subject,
        event_id=unquote(told.get("ce-id", "")),
        error_class=told.get(f"{OWN_HEADER}error-class", ""),
        error=told.get(f"{OWN_HEADER}error-text", ""),
        stack=unquote(told.get(STACK_HEADER, "")),
        deliveries=_count(told.get(f"{OWN_HEADER}deliveries", "")),
        correlation_id=unquote(told.get("ce-correlationid", "")),
        traceparent=told.get("traceparent", ""),
        headers=_before(told),
        payload=stored.data,
    )


def _before(headers: Mapping[str, str]) -> dict[str, str]:
    """What the message carried when it was sent."""
    added = {f"{OWN_HEADER}{name}" for name in ("consumer", "error-class", "error-text", "deliveries")} | {STACK_HEADER}
    return {name: value for name, value in headers.items() if name not in added and not name.startswith(BUS_HEADER)}


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _shown(payload: bytes) -> tuple[str, Literal["text", "base64"]]:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return b64encode(payload).decode(), "base64"
    return (b64encode(payload).decode(), "base64") if "\0" in text else (text, "text")


def check_undecided(letter: Letter) -> None:
    """Raises Conflict where it was decided already: a replay that failed again is a letter of its own."""
    if letter.state != "waiting":
        raise Conflict(f"the dead letter {letter.id} was {letter.state} already", field="letter_id")


def replay_headers(letter: Letter) -> dict[str, str]:
    """The headers of before, under an id of its own: the stream would take the old one for a repeat."""
    position = letter.headers.get(ORIGINAL_POSITION, letter.id.rpartition("-")[2])
    added = {ORIGINAL_SUBJECT: letter.subject, ORIGINAL_POSITION: position, "Nats-Msg-Id": f"retry-{letter.id}"}
    return letter.headers | added
