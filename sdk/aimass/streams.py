"""Streams of server-sent events, which go on where they were cut off."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from aimass.calls import API, Flow, Item, Items, Open, Pause, Read, Request
from aimass.errors import DeadlineExceeded, Unavailable

SILENCE_SECONDS = 30.0
AGAIN_SECONDS = 0.5
T = TypeVar("T")


class ServerEvent(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: dict[str, Any]


def follow(
    path: str, params: Mapping[str, Any], read: Callable[[dict[str, Any]], T], *, until: str | None = None
) -> Items[T]:
    """What comes on a stream of the control API, until an event of that name or until the caller stops.

    A stream that breaks off is opened again after its last event.
    """
    last = ""
    while True:
        with suppress(Unavailable, DeadlineExceeded):
            headers = {"Last-Event-ID": last} if last else {}
            yield Open(Request("GET", f"{API}/{path}", params, headers), lines=True, seconds=SILENCE_SECONDS)
            while event := (yield from _next_event()):
                if event.name == until:
                    return
                last = event.id or last
                yield Item(read(event.data))
        yield Pause(AGAIN_SECONDS)


def _next_event() -> Flow[ServerEvent | None]:
    fields: dict[str, str] = {}
    while (line := (yield from Read())) is not None:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            return ServerEvent(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
    return None
