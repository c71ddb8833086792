"""Dead letters, which services gave up on, and the audit, which says who decided what."""

from typing import Any, TypedDict

from aimass.calls import Call, call, get
from aimass.methods import method


class DeadLetter(TypedDict):
    """A message that a service gave up on: waiting, replayed or discarded."""

    id: str
    service: str
    state: str
    type: str
    subject: str
    event_id: str
    error_class: str
    error: str
    deliveries: int
    correlation_id: str
    at: str
    decided_by: str
    decided_at: str | None
    reason: str


class DeadLetterContent(DeadLetter):
    """The letter whole: `payload` is text, or base64 where `encoding` says so; `stack` is where it failed last."""

    stack: str
    traceparent: str
    headers: dict[str, str]
    payload: str
    encoding: str


class AuditEntry(TypedDict):
    """A decision: what, by whom, when, why where that was said, and the event that caused it."""

    position: int
    type: str
    source: str
    subject: str
    event_id: str
    actor: str
    reason: str
    at: str
    correlation_id: str
    causation_id: str
    data: dict[str, Any]
    previous: str
    digest: str


class AuditVerification(TypedDict):
    """Whether the audit is intact, of how many entries; else the first position that is not as it was written."""

    intact: bool
    entries: int
    published: int
    position: int
    problem: str


class Operating:
    """What a client can do about what went wrong, and look at afterwards."""

    @method
    def dead_letters(
        self, *, service: str | None = None, state: str | None = None, event: str | None = None, limit: int = 100
    ) -> Call[list[DeadLetter]]:
        """What services gave up on, newest first."""
        asked = {"service": service, "state": state, "type": event, "limit": limit}
        return get("dead-letters", asked, take="letters")

    @method
    def dead_letter(self, letter_id: str) -> Call[DeadLetterContent]:
        """One letter: its payload and headers, why and where it failed."""
        return get(f"dead-letters/{letter_id}")

    @method
    def replay_dead_letter(self, letter_id: str, *, key: str = "") -> Call[DeadLetter]:
        """Have the service that gave up try once more, and nobody else."""
        return call("POST", f"dead-letters/{letter_id}/replay", key=key)

    @method
    def replay_dead_letters(self, service: str, *, event: str = "", key: str = "") -> Call[list[str]]:
        """Have a service try once more what waits, of one type or of all, a thousand at most; their ids."""
        return call("POST", "dead-letter-replays", json={"service": service, "type": event}, key=key, take="ids")

    @method
    def discard_dead_letter(self, letter_id: str, reason: str, *, key: str = "") -> Call[DeadLetter]:
        """Decide that nobody will handle a letter."""
        return call("POST", f"dead-letters/{letter_id}/discard", json={"reason": reason}, key=key)

    @method
    def audit(
        self,
        *,
        actor: str | None = None,
        event: str | None = None,
        subject: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Call[list[AuditEntry]]:
        """Who decided what, newest first; before a position to go on. `event` is a type, such as VersionPromoted."""
        asked = {"actor": actor, "type": event, "subject": subject, "before": before, "limit": limit}
        return get("audit", asked, take="entries")

    @method
    def verify_audit(self) -> Call[AuditVerification]:
        """Whether each entry of the audit is as it was written."""
        return get("audit/verification")
