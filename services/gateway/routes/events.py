"""Events of the project: live as server-sent events, or the timeline of one chain from monitor."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import Query
from pydantic import AwareDatetime

from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import LastEventId, Position, Routes
from services.gateway.sse import EventFlow, ServerEvent
from shared import observe
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import InvalidInput
from shared.permissions import Permission
from shared.reading import Stored
from shared.rpc.monitor import GetTimeline, Timeline

ROUTES = Routes("events")
CLOCKS_DIFFER = timedelta(minutes=1)
EPOCH = datetime.fromtimestamp(0, UTC)
PRINTABLE = r"^[^\x00-\x1f\x7f]{0,200}$"
CorrelationId = Annotated[str, Query(pattern=PRINTABLE)]
EventType = Annotated[str, Query(pattern=PRINTABLE, description="such as VersionPromoted")]
Subject = Annotated[str, Query(pattern=PRINTABLE, description="such as model/digits-cnn, or model for all models")]
Since = Annotated[AwareDatetime | None, Query(description="a time with its zone, such as 2030-01-31T12:00:00Z")]


class Wanted(NamedTuple):
    """Which events were asked for; an empty filter lets all pass."""

    correlation_id: str
    type: str
    subject: str

    def matches(self, correlation_id: str, kind: str, subject: str) -> bool:
        return (
            self.correlation_id in ("", correlation_id)
            and self.type in ("", kind, kind.rpartition(".")[2])
            and (self.subject in ("", subject) or subject.startswith(f"{self.subject}/"))
        )


@ROUTES.add("GET", "/events", Permission.EVENTS_READ, response_model=Timeline)
async def show_events(
    caller: CallerOf,
    correlation_id: CorrelationId = "",
    type: EventType = "",  # noqa: A002
    subject: Subject = "",
    since: Since = None,
    after: Position = 0,
    follow: bool = True,
    last_event_id: LastEventId = 0,
) -> Any:
    """Server-sent events from now on, or from where the caller names: after the last one that it saw, after a
    sequence, since a time, or from the beginning of a chain; without `follow` the chain so far."""
    wanted = Wanted(correlation_id, type, subject)
    if follow:
        start = await _start(caller, last_event_id or after, since, correlation_id)
        return caller.edges.followers.response(_follow(caller, start, wanted))
    if not correlation_id:
        raise InvalidInput("a timeline needs a correlation_id", field="correlation_id")
    timeline = await caller.ask(GetTimeline(correlation_id=correlation_id))
    timeline.events = [
        event
        for event in timeline.events
        if wanted.matches(correlation_id, event.type, event.subject) and event.at >= (since or EPOCH)
    ]
    return timeline


async def _start(caller: Caller, after: int, since: datetime | None, correlation_id: str) -> dict[str, Any]:
    """Where to begin: the more a caller knows the more it counts, and who knows nothing begins at the end."""
    if after:
        return {"sequence": after + 1}
    if since is not None:
        return {"since": min(max(since, EPOCH), datetime.now(UTC))}
    if (begun := _time_of(correlation_id)) is not None:
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


async def _follow(caller: Caller, start: dict[str, Any], wanted: Wanted) -> EventFlow:
    async for stored in caller.edges.events.follow(f"evt.{caller.project}.>", **start):
        if not caller.is_still_known():
            return
        yield _event(stored, wanted) if stored else None


def _event(stored: Stored, wanted: Wanted) -> ServerEvent | None:
    """None for an event that was not asked for, or that cannot be read."""
    try:
        envelope = read_envelope(stored.subject, stored.headers, stored.data)
        data = read_data(stored.headers, stored.data)
    except (InvalidInput, ValueError) as error:
        observe.log().warning("unreadable event left out", sequence=stored.sequence, error=str(error))
        return None
    if not wanted.matches(envelope.correlation_id, envelope.type, envelope.subject):
        return None
    return ServerEvent(_document(envelope, data), stored.sequence)


def _document(envelope: Envelope, data: Any) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "subject": envelope.subject,
        "sequence": envelope.sequence,
        "at": envelope.time,
        "actor": envelope.actor,
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "data": data,
    }
