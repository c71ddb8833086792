"""Work: one unit of work — a transaction, its circumstances, and the messages that commit with it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from shared.context import Context
from shared.db import Connection
from shared.envelope import Envelope
from shared.events.base import Event
from shared.names import new_id

Parts = TypeVar("Parts")
Save = Callable[[Connection, list[Any]], Awaitable[None]]


@dataclass(frozen=True)
class Outgoing:
    """A message that leaves through the outbox; messages of one aggregate keep their order."""

    aggregate: str
    subject: str
    payload: bytes
    headers: dict[str, str]
    id: str = field(default_factory=new_id)


@dataclass
class Work(Generic[Parts]):
    """What a handler gets: `tx` to store with, `say` to publish with, `parts` of its service to decide with."""

    tx: Connection
    context: Context
    parts: Parts
    envelope: Envelope | None = None
    said: list[Event | Outgoing] = field(default_factory=list)
    afterwards: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    gathered: dict[Save, list[Any]] = field(default_factory=dict)

    @property
    def project(self) -> str:
        return self.context.project

    def together(self, save: Save, row: Any) -> None:
        """In an event's handler: save this row at the end of the transaction, with those of the others in a batch."""
        self.gathered.setdefault(save, []).append(row)

    def say(self, event: Event) -> None:
        """Publish this event if, and only if, the transaction commits."""
        self.said.append(event)

    def send(self, aggregate: str, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Publish a raw message with the transaction, such as an entry of a key-value bucket."""
        self.said.append(Outgoing(aggregate, subject, payload, headers))

    def then(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do this after the commit, and after the publication where the request awaits that; a crash loses it."""
        self.afterwards.append(step)

    async def finish(self) -> None:
        for step in self.afterwards:
            await step()
