"""Which events are asked for: the same filters for what was, in monitor, and for what comes, in the gateway."""

import difflib
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field

from shared.envelope import Envelope
from shared.errors import InvalidInput
from shared.events import DOMAINS, EVENTS
from shared.moments import Moment
from shared.names import snake

PRINTABLE = r"^[^\x00-\x1f\x7f]{0,200}$"
OURS, EXTENSION = "aimass.", "ext-"
Text = Annotated[str, Field(pattern=PRINTABLE)]


class Selection(BaseModel):
    """Filters, all of which count; an empty one lets all pass.

    `type` is VersionPromoted, version_promoted or the full name; `about` is models/digits-cnn, or models for all.
    """

    correlation_id: Text = ""
    type: Text = ""
    domain: Text = ""
    about: Text = ""
    actor: Text = ""
    since: Moment | None = None
    until: Moment | None = None

    def check(self) -> None:
        """Raises InvalidInput for what can never be: an unknown domain or type, an end before the beginning."""
        if self.domain and self.domain not in DOMAINS and not self.domain.startswith(EXTENSION):
            known = ", ".join(sorted(DOMAINS))
            raise InvalidInput(
                f"there is no domain {self.domain!r}: {known}, or ext-NAME of an extension", field="domain"
            )
        if not self.names() and not self._is_of_others():
            raise InvalidInput(self._unknown(), field="type")
        if self.since and self.until and self.until <= self.since:
            raise InvalidInput("until: a time after since", field="until")

    def names(self) -> list[str]:
        """The full names of our types that are asked for."""
        return [
            name
            for name, event in EVENTS.items()
            if self.domain in ("", event.domain())
            and self.type in ("", name, event.__name__, event.fact())
            and event.stream == "EVT"
        ]

    @property
    def names_types(self) -> bool:
        return bool(self.type or self.domain)

    def _is_of_others(self) -> bool:
        """Types of others are in the log, as whoever publishes them has named them."""
        return self.domain.startswith(EXTENSION) or ("." in self.type and not self.type.startswith(OURS))

    def _unknown(self) -> str:
        short = self.type.rpartition(".")[2]
        known = [event.__name__ for event in EVENTS.values() if event.stream == "EVT"]
        near = difflib.get_close_matches(short, [*known, *map(snake, known)], 1)
        of = f" of the domain {self.domain!r}" if self.domain else ""
        return f"there is no event type {self.type!r}{of}{f': is {near[0]} meant?' if near else ''}"

    def has(self, envelope: Envelope, subject: str) -> bool:
        """Whether an event is one of those, by its envelope and the bus's subject under which it is stored."""
        tokens = subject.split(".")
        return (
            self.correlation_id in ("", envelope.correlation_id)
            and self.type in ("", envelope.type, envelope.type.rpartition(".")[2], tokens[-1])
            and self.domain in ("", *tokens[2:3])
            and self.actor in ("", envelope.actor)
            and (self.about in ("", envelope.subject) or envelope.subject.startswith(f"{self.about}/"))
            and self._is_in_time(envelope.time)
        )

    def _is_in_time(self, text: str) -> bool:
        if self.since is None and self.until is None:
            return True
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return self.until is None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)
