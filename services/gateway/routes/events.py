"""Events of the project: the log in pages from monitor, or live as server-sent events or over WebSocket."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import LONGEST, LastEventId, Routes
from services.gateway.sse import STREAMED, EventFlow, ServerEvent
from shared import observe
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import InvalidInput
from shared.events import EVENTS
from shared.moments import Moment
from shared.permissions import Permission
from shared.reading import Stored
from shared.rpc.monitor import GetTimeline, GetTrace, ListEvents, Timeline, TimelineEntry, Trace
from shared.selection import PRINTABLE, Selection, Text

ROUTES = Routes("events")
CLOCKS_DIFFER = timedelta(minutes=1)
EPOCH = datetime.fromtimestamp(0, UTC)
FUTURE = datetime.max.replace(tzinfo=UTC)
Time = Annotated[Moment | None, Field(description="a time with its zone, such as 2030-01-31T12:00:00Z")]
Place = Annotated[int | None, Field(ge=0, le=LONGEST, description="a position of the log, or an id of its stream")]


class EventQuery(BaseModel):
    """Filters, of which all count, and where in the log to begin: `after` a position, or `since` a time."""

    model_config = ConfigDict(extra="forbid")
    correlation_id: Text = ""
    type: Annotated[Text, Field(description="such as VersionPromoted or version_promoted")] = ""
    domain: Annotated[Text, Field(description="such as models")] = ""
    subject: Annotated[Text, Field(description="such as models/digits-cnn, or models for all of them")] = ""
    actor: Annotated[Text, Field(description="who did it: the id of a key or a user")] = ""
    since: Time = None
    until: Time = None
    after: Place = None
    before: Place = None
    limit: Annotated[int | None, Field(ge=1, le=1000)] = None
    follow: bool = True

    def selection(self) -> Selection:
        """Raises InvalidInput for a filter that nothing can pass."""
        given = self.model_dump(include=set(Selection.model_fields))
        given["since"] = self.since and max(self.since, EPOCH)
        given["until"] = self.until and min(max(self.until, EPOCH), FUTURE)
        selection = Selection(about=self.subject, **given)
        selection.check()
        if self.before is not None and (self.after or 0) >= self.before:
            raise InvalidInput("before: a position beyond after", field="before")
        return selection

    def is_chain(self) -> bool:
        """One chain and no page of it: told whole, causes before effects."""
        return bool(self.correlation_id) and (self.after, self.before, self.limit, self.until) == (None,) * 4


@ROUTES.add("GET", "/events", Permission.EVENTS_READ, response_model=Timeline, responses=STREAMED)
async def show_events(caller: CallerOf, query: Annotated[EventQuery, Query()], last_event_id: LastEventId = 0) -> Any:
    """Server-sent events from now on, or from where the caller names: after the last one that it saw, after a
    position, since a time, or from the beginning of a chain; the same over WebSocket: `/events/ws`.

    Without `follow` a page of the log: newest first, or forwards from `after` or `since`; `next` goes on. A
    correlation id alone gives its chain, causes before effects.
    """
    if query.follow:
        return caller.edges.followers.response(await followed_events(caller, query, last_event_id))
    selection = query.selection()
    if query.is_chain():
        return await _chain(caller, selection)
    return await caller.ask(
        ListEvents(selection=selection, after=query.after, before=query.before, limit=query.limit or 100)
    )


@ROUTES.add("GET", "/trace/{id:path}", Permission.EVENTS_READ)
async def show_trace(
    id: Annotated[str, Path(min_length=1, pattern=PRINTABLE)],  # noqa: A002
    caller: CallerOf,
) -> Trace:
    """What led to something and what came of it: events, tasks, versions and predictions as one tree, depth first.

    The id may be that of an event, a task, a study, a pipeline, an evaluation, a prediction or a chain, or a version or
    deployment as digits-cnn/3.
    """
    return await caller.ask(GetTrace(of=id))


async def _chain(caller: Caller, selection: Selection) -> Timeline:
    timeline = await caller.ask(GetTimeline(correlation_id=selection.correlation_id))
    wanted = selection.model_copy(update={"since": None, "correlation_id": ""})
    timeline.events = [
        event for event in timeline.events if event.at >= (selection.since or EPOCH) and wanted.has(*_as_heard(event))
    ]
    return timeline


def _as_heard(entry: TimelineEntry) -> tuple[Envelope, str]:
    """Its envelope and its subject on the bus, as far as they are filtered by."""
    names = {"type", "source", "subject", "id", "actor", "correlation_id"}
    envelope = Envelope(time=entry.at.isoformat(), **entry.model_dump(include=names))
    return envelope, EVENTS[entry.type].subject("") if entry.type in EVENTS else ""


async def followed_events(caller: Caller, query: EventQuery, last_event_id: int = 0) -> EventFlow:
    """The events that are asked for as they come; raises InvalidInput for what cannot be."""
    selection = query.selection()
    for name in ("before", "limit"):
        if getattr(query, name) is not None:
            raise InvalidInput(f"{name}: only of pages, with follow=false", field=name)
    start = await _start(caller, last_event_id or query.after or 0, selection)
    return _follow(caller, start, selection)


async def _start(caller: Caller, after: int, wanted: Selection) -> dict[str, Any]:
    """Where to begin: the more a caller knows the more it counts, and who knows nothing begins at the end."""
    if after:
        return {"sequence": after + 1}
    if wanted.since is not None:
        return {"since": min(max(wanted.since, EPOCH), datetime.now(UTC))}
    if (begun := _time_of(wanted.correlation_id)) is not None:
        return {"since": begun - CLOCKS_DIFFER}
    return {"sequence": (await caller.edges.events.info()).state.last_seq + 1}


def _time_of(correlation_id: str) -> datetime | None:
    """A UUIDv7 begins with its time; other ids do not tell."""
    try:
        parsed = uuid.UUID(correlation_id)
    except ValueError:
        return None
    milliseconds = parsed.int >> 80
    if parsed.version != 7 or milliseconds > datetime.now(UTC).timestamp() * 1000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


async def _follow(caller: Caller, start: dict[str, Any], wanted: Selection) -> EventFlow:
    """Ends with the caller's key, and when the end of what is wanted has passed."""
    async for stored in caller.edges.events.follow(f"evt.{caller.project}.>", **start):
        if not caller.is_still_known():
            return
        yield _event(stored, wanted) if stored else None
        if stored is None and datetime.now(UTC) >= (wanted.until or FUTURE):
            return


def _event(stored: Stored, wanted: Selection) -> ServerEvent | None:
    """None for an event that was not asked for, or that cannot be read."""
    try:
        envelope = read_envelope(stored.subject, stored.headers, stored.data, stored.sequence)
        data = read_data(stored.headers, stored.data)
    except (InvalidInput, ValueError) as error:
        observe.log().warning("unreadable event left out", sequence=stored.sequence, error=str(error))
        return None
    if not wanted.has(envelope, stored.subject):
        return None
    return ServerEvent(_document(envelope, data), stored.sequence)


def _document(envelope: Envelope, data: Any) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "subject": envelope.subject,
        "sequence": envelope.sequence,
        "position": envelope.position,
        "at": envelope.time,
        "actor": envelope.actor,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "data": data,
    }
