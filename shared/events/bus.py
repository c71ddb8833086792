"""Domain bus: said by monitor."""

from typing import ClassVar

from shared.events.base import Event, Int64


class DeadLetterReplayed(Event):
    """A dead letter went to its consumer once more."""

    about: ClassVar[str] = "letter_id"
    audited: ClassVar[bool] = True
    letter_id: str = ""
    service: str = ""
    type: str = ""
    event_id: str = ""
    actor: str = ""


class DeadLetterDiscarded(Event):
    """Nobody will handle a dead letter any more."""

    about: ClassVar[str] = "letter_id"
    audited: ClassVar[bool] = True
    letter_id: str = ""
    service: str = ""
    type: str = ""
    event_id: str = ""
    reason: str = ""
    actor: str = ""


class AuditAdvanced(Event):
    """The audit has grown: what this says of it stands outside of the database that holds it."""

    about: ClassVar[str] = "chain"
    chain: str = ""
    position: Int64 = 0
    digest: str = ""
