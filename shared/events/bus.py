"""Domain bus: said by monitor."""

from typing import ClassVar

from shared.events.base import Event


class DeadLetterReplayed(Event):
    """A dead letter went to its consumer once more."""

    about: ClassVar[str] = "letter_id"
    letter_id: str = ""
    service: str = ""
    type: str = ""
    event_id: str = ""
    actor: str = ""


class DeadLetterDiscarded(Event):
    """Nobody will handle a dead letter any more."""

    about: ClassVar[str] = "letter_id"
    letter_id: str = ""
    service: str = ""
    type: str = ""
    event_id: str = ""
    reason: str = ""
    actor: str = ""
