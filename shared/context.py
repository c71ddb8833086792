"""Who asks, for which project, by when and as part of which chain: travels in headers with every message."""

import time
from dataclasses import dataclass, field, replace

from shared.names import DEFAULT_PROJECT, new_id


@dataclass(frozen=True)
class Context:
    """The circumstances of a request or an event; receivers trust it because bus permissions do."""

    project: str = DEFAULT_PROJECT
    actor: str = "system"
    correlation_id: str = field(default_factory=new_id)
    causation_id: str = ""
    traceparent: str = ""
    deadline: float | None = None
    idempotency_key: str = ""

    def caused_by(self, event_id: str) -> "Context":
        return replace(self, causation_id=event_id)

    def lasting(self) -> "Context":
        """The same without the limits of the request, for what goes on after its answer."""
        return replace(self, deadline=None, idempotency_key="")

    def seconds_left(self, default: float) -> float:
        """Seconds until the deadline, never more than the default, never below zero."""
        if self.deadline is None:
            return default
        return max(0.0, min(default, self.deadline - time.time()))

    def to_headers(self) -> dict[str, str]:
        headers = {
            "aimass-project": self.project,
            "aimass-actor": self.actor,
            "ce-correlationid": self.correlation_id,
            "ce-causationid": self.causation_id,
            "traceparent": self.traceparent,
            "idempotency-key": self.idempotency_key,
            "aimass-deadline": "" if self.deadline is None else f"{self.deadline:.3f}",
        }
        return {name: value for name, value in headers.items() if value}

    @classmethod
    def from_headers(cls, headers: dict[str, str]) -> "Context":
        deadline = headers.get("aimass-deadline")
        return cls(
            project=headers.get("aimass-project", DEFAULT_PROJECT),
            actor=headers.get("aimass-actor", "system"),
            correlation_id=headers.get("ce-correlationid") or new_id(),
            causation_id=headers.get("ce-causationid", ""),
            traceparent=headers.get("traceparent", ""),
            deadline=float(deadline) if deadline else None,
            idempotency_key=headers.get("idempotency-key", ""),
        )


class HasOrigin:
    """A row of work that goes on long after it was asked for; `context` keeps the circumstances as headers."""

    context: dict[str, str]

    @property
    def origin(self) -> Context:
        """The circumstances in which it was accepted."""
        return Context.from_headers(self.context)
