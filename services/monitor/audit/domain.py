"""The chain of the audit: what an entry's digest is made of, and where a chain is broken first; pure.

Each digest covers the one before: who alters an entry must alter all that follow, and what was said of them outside of
the database.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shared.context import Context
from shared.envelope import Envelope
from shared.rpc.monitor import AuditEntry, AuditVerification

CHAIN = "audit"


@dataclass(frozen=True)
class Entry:
    """A row of the audit; `data` is the event's JSON, as text."""

    position: int
    project: str
    at: datetime
    type: str
    source: str
    subject: str
    event_id: str
    actor: str
    correlation_id: str
    causation_id: str
    data: str
    previous: str = ""
    digest: str = ""

    def view(self) -> AuditEntry:
        data: dict[str, Any] = json.loads(self.data)
        return AuditEntry(**vars(self) | {"data": data, "reason": str(data.get("reason", ""))})


@dataclass(frozen=True)
class Head:
    """The last entry of a chain, or of as much of it as was looked at."""

    position: int = 0
    digest: str = ""


def entry_of(envelope: Envelope, context: Context, at: datetime, data: str) -> Entry:
    """Not chained yet."""
    return Entry(
        position=0,
        project=envelope.project,
        at=at,
        type=envelope.type,
        source=envelope.source,
        subject=envelope.subject,
        event_id=envelope.id,
        actor=context.actor,
        correlation_id=context.correlation_id,
        causation_id=envelope.causation_id,
        data=data,
    )


def chained(entry: Entry, head: Head) -> Entry:
    """The entry as the next one after the head."""
    placed = replace(entry, position=head.position + 1, previous=head.digest)
    return replace(placed, digest=digest_of(placed))


def digest_of(entry: Entry) -> str:
    """SHA-256 over all that the entry says, and over the digest of the one before."""
    said = vars(entry) | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
    del said["digest"]
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass
class Verifier:
    """Goes along a chain; `said` are digests by position, as they were published outside of the database."""

    said: Mapping[int, str]
    head: Head = Head()
    problem: str = ""
    broken_at: int = 0

    def read(self, entries: Iterable[Entry]) -> None:
        """Look at the next entries, in their order, up to the first that is not as it was."""
        for entry in entries:
            if self.problem:
                return
            if problem := self._problem(entry):
                self._break(self.head.position + 1, problem)
            else:
                self.head = Head(entry.position, entry.digest)

    def _problem(self, entry: Entry) -> str:
        if entry.position != self.head.position + 1:
            return "an entry is missing"
        if entry.previous != self.head.digest or digest_of(entry) != entry.digest:
            return "the entry is not as it was written"
        if self.said.get(entry.position, entry.digest) != entry.digest:
            return "the chain was written anew: another digest was published"
        return ""

    def _break(self, position: int, problem: str) -> None:
        self.broken_at, self.problem = position, problem

    def verdict(self) -> AuditVerification:
        """When all was read: what is published and not there any more was cut off."""
        if not self.problem and max(self.said, default=0) > self.head.position:
            self._break(self.head.position + 1, "the end of the chain is missing")
        return AuditVerification(
            intact=not self.problem,
            entries=self.head.position,
            published=len(self.said),
            position=self.broken_at,
            problem=self.problem,
        )
