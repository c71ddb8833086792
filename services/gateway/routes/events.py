"""Events of the project: live as server-sent events, or the timeline of one chain from monitor."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Header, Query

from services.gateway.caller import Caller, CallerOf
from services.gateway.reading import Stored
from services.gateway.routes.declare import Routes
from services.gateway.sse import EventFlow, ServerEvent
from shared import observe
from shared.envelope import Envelope, read_data, read_envelope
from shared.errors import InvalidInput
from shared.permissions import Permission
from shared.rpc.monitor import GetTimeline, Timeline

ROUTES = Routes("events")
CLOCKS_DIFFER = timedelta(minutes=1)
CorrelationId = Annotated[str, Query(max_length=200)]


@ROUTES.add("GET", "/events", Permission.EVENTS_READ, response_model=Timeline)
async def show_events(
    caller: CallerOf,
    correlation_id: CorrelationId = "",
    type: Annotated[str, Query(max_length=200, description="such as VersionPromoted")] = "",  # noqa: A002
    follow: bool = True,
    last_event_id: Annotated[int, Header(ge=0)] = 0,
) -> Any:
    """Server-sent events from now on, or from the beginning of a chain; without `follow` the chain so far."""
    if follow:
        start = await _start(correlation_id, last_event_id, caller)
        return caller.edges.followers.response(_follow(caller, start, correlation_id, type))
    if not correlation_id:
        raise InvalidInput("a timeline needs a correlation_id", field="correlation_id")
    timeline = await caller.ask(GetTimeline(correlation_id=correlation_id))
    timeline.events = [event for event in timeline.events if _is_of_type(event.type, type)]
    return timeline


async def _start(correlation_id: str, last_event_id: int, caller: Caller) -> dict[str, Any]:
    """Where to begin: after the last event seen, at the moment that a chain's id was made, or at the end."""
    if last_event_id:
        return {"sequence": last_event_id + 1}
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


async def _follow(caller: Caller, start: dict[str, Any], correlation_id: str, kind: str) -> EventFlow:
    async for stored in caller.edges.events.follow(f"evt.{caller.project}.>", **start):
        if not caller.is_still_known():
            return
        yield _event(stored, correlation_id, kind) if stored else None


def _event(stored: Stored, correlation_id: str, kind: str) -> ServerEvent | None:
    """None for an event that was not asked for, or that cannot be read."""
    try:
        envelope = read_envelope(stored.subject, stored.headers, stored.data)
        data = read_data(stored.headers, stored.data)
    except (InvalidInput, ValueError) as error:
        observe.log().warning("unreadable event left out", sequence=stored.sequence, error=str(error))
        return None
    if correlation_id not in ("", envelope.correlation_id) or not _is_of_type(envelope.type, kind):
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


def _is_of_type(full: str, wanted: str) -> bool:
    return wanted in ("", full, full.rpartition(".")[2])
