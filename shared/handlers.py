"""Handlers: all that a service reacts to, on one screen at the foot of its handlers.py."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.events.base import Command, Event
from shared.rpc.base import Request
from shared.streams import Declaration

EventHandler = Callable[[Any, Any], Awaitable[None]]
RpcHandler = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Handlers:
    """Events, commands and requests of a service, each with its one handler.

    `rpc` handlers get a Work inside a transaction; `memory_rpc` ones get (request, parts) and work with the
    database down. `asks` are the subjects of the requests that it may make, `reads` the streams that it may read,
    `publishes` and `subscribes` further subjects. With `in_batches`, events that wait share a transaction. `others`
    handles what extensions say, whatever its type.
    """

    service: str
    events: dict[type[Event], EventHandler] = field(default_factory=dict)
    commands: dict[type[Command], EventHandler] = field(default_factory=dict)
    rpc: dict[type[Request[Any]], RpcHandler] = field(default_factory=dict)
    memory_rpc: dict[type[Request[Any]], RpcHandler] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    in_batches: bool = False
    others: EventHandler | None = None

    @property
    def declaration(self) -> Declaration:
        return Declaration(
            service=self.service,
            hears=tuple(self.events),
            obeys=tuple(self.commands),
            answers=(*self.rpc, *self.memory_rpc),
            asks=self.asks,
            publishes=self.publishes,
            subscribes=self.subscribes,
            reads=self.reads,
            hears_extensions=self.others is not None,
        )
