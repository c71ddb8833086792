"""Looks at the streams and consumers of the bus, plans what the admin step would do to them, and does it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, StreamConfig
from nats.js.errors import NotFoundError

from deploy.bus_plan import Action, Kept, Plan, Position, Step, consumer_step, is_heard, stream_step
from shared.drift import consumer_differences
from shared.streams import STREAMS, Declaration, consumers

PATIENCE_SECONDS = 30.0
ERRAND_SECONDS = 90.0
CLOSE_SECONDS = 2.0
Wanted = list[tuple[str, ConsumerConfig]]


class Refused(Exception):
    """The plan holds what would lose messages or positions, so none of it was done; its text is the plan."""


def wanted_consumers(declared: Iterable[Declaration]) -> Wanted:
    return [(stream, config) for each in declared for stream, config in consumers(each).items()]


async def plan_bus(admin_url: str, wanted: Wanted, streams: Iterable[StreamConfig] = STREAMS) -> Plan:
    """What would be done; the bus is only looked at."""
    async with _connected(admin_url) as connection:
        return await _Bus(connection, list(streams), wanted).plan()


async def provision_bus(
    admin_url: str, wanted: Wanted, streams: Iterable[StreamConfig] = STREAMS, tls: ssl.SSLContext | None = None
) -> Plan:
    """Do what the plan says, and say what that was; doing it again changes nothing.

    Raises Refused, with nothing done, where the plan refuses a step, and TimeoutError where the bus goes away.
    """
    async with _connected(admin_url, tls) as connection:
        bus = _Bus(connection, list(streams), wanted)
        plan = await bus.plan()
        if plan.refused:
            raise Refused(str(plan))
        await bus.apply(plan)
        return plan


@asynccontextmanager
async def _connected(admin_url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """A connection for one errand; closing one whose bus died meanwhile would never end by itself."""
    try:
        async with asyncio.timeout(ERRAND_SECONDS) as errand:
            connection = await nats.connect(admin_url, connect_timeout=5, tls=tls, tls_handshake_first=tls is not None)
            try:
                yield connection
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await connection.close()
    except TimeoutError as late:
        which = f"take it within {ERRAND_SECONDS:g} s" if errand.expired() else f"answer in time: {late!r}"
        raise TimeoutError(f"the bus did not {which}: is it running?") from late


class _Bus:
    """One look at the bus beside what is declared."""

    def __init__(self, connection: Client, streams: list[StreamConfig], wanted: Wanted) -> None:
        self._connection, self._streams, self._wanted = connection, streams, wanted
        self._js: JetStreamContext = connection.jetstream(timeout=PATIENCE_SECONDS)
        self._kept: dict[str, Kept] = {}

    async def plan(self) -> Plan:
        now = datetime.now(UTC)
        names = {info.config.name or "" for info in await self._js.streams_info()}
        for name in sorted(names):
            self._kept[name] = await self._look(name)
        steps = [stream_step(stream, self._kept.get(stream.name or ""), now) for stream in self._streams]
        steps += [await self._consumer_step(stream, config) for stream, config in self._wanted]
        return Plan((*steps, *await self._left()))

    async def apply(self, plan: Plan) -> None:
        actions = {step.what: step.action for step in plan.steps}
        for stream in self._streams:
            if actions[stream.name or ""] is Action.MAKE:
                await self._js.add_stream(stream)
            else:  # also where it is the same: what a full disk refused the bus may tell, and forget when it ends
                await self._js.update_stream(stream)
        for name, config in self._wanted:
            if actions[f"{name}/{config.durable_name}"] in (Action.MAKE, Action.CHANGE):
                await self._js.add_consumer(name, config)

    async def _look(self, name: str) -> Kept:
        info = await self._js.stream_info(name)
        state = await self._state(name)
        oldest = datetime.fromisoformat(state["first_ts"]) if state["messages"] else None
        return Kept(info.config, state["messages"], state["bytes"], oldest, await self._subjects(name))

    async def _subjects(self, name: str) -> dict[str, int]:
        """How many messages each subject has; the bus tells them in pages, which move while new subjects come."""
        found: dict[str, int] = {}
        told = 0
        while page := (await self._state(name, subjects_filter=">", offset=told)).get("subjects"):
            told += len(page)
            found |= page
        return found

    async def _state(self, name: str, **asked: Any) -> dict[str, Any]:
        subject = f"$JS.API.STREAM.INFO.{name}"
        answer = await self._connection.request(subject, json.dumps(asked).encode(), timeout=PATIENCE_SECONDS)
        state: dict[str, Any] = json.loads(answer.data)["state"]
        return state

    async def _consumer_step(self, stream: str, wanted: ConsumerConfig) -> Step:
        kept = self._kept.get(stream)
        info = await self._consumer(stream, wanted.durable_name or "") if kept else None
        held = await self._position(stream, info, wanted) if info else None
        filters = wanted.filter_subjects or ()
        stored = sum(count for subject, count in (kept.subjects if kept else {}).items() if is_heard(filters, subject))
        return consumer_step(stream, wanted, held, stored)

    async def _consumer(self, stream: str, durable: str) -> ConsumerInfo | None:
        try:
            info: ConsumerInfo = await self._js.consumer_info(stream, durable)
        except NotFoundError:
            return None
        return info

    async def _position(self, stream: str, info: ConsumerInfo, wanted: ConsumerConfig) -> Position:
        assert info.config is not None and info.ack_floor is not None and info.delivered is not None
        changed = {each.name for each in consumer_differences(info.config, wanted)}
        subjects = self._kept[stream].subjects if "filter_subjects" in changed else ()
        places = {subject: found for subject in subjects if (found := await self._places(stream, subject))}
        settled, delivered = info.ack_floor.stream_seq, info.delivered.stream_seq
        return Position(info.config, settled, delivered, info.num_pending or 0, places)

    async def _places(self, stream: str, subject: str) -> tuple[int, int] | None:
        """Where the first and the last message of a subject are; nothing where they have gone meanwhile."""
        try:
            first = await self._js.get_msg(stream, 1, subject=subject, next=True)
            last = await self._js.get_last_msg(stream, subject)
        except NotFoundError:
            return None
        return first.seq or 0, last.seq or 0

    async def _consumers(self, stream: str) -> list[ConsumerInfo]:
        """All consumers; the bus tells them in pages."""
        found: list[ConsumerInfo] = []
        while page := await self._js.consumers_info(stream, len(found)):
            found += page
        return found

    async def _left(self) -> list[Step]:
        """What is on the bus and not declared: shown, and left alone."""
        declared = {stream.name for stream in self._streams}
        named = {f"{stream}/{config.durable_name}" for stream, config in self._wanted}
        steps = [
            Step(Action.LEAVE, name, (f"not declared; holds {kept.messages} messages",))
            for name, kept in self._kept.items()
            if name not in declared
        ]
        for name in self._kept:
            found = ((f"{name}/{info.name}", info) for info in await self._consumers(name))
            steps += [Step(Action.LEAVE, what, (_unread(info),)) for what, info in found if what not in named]
        return steps


def _unread(info: ConsumerInfo) -> str:
    settled = info.ack_floor.stream_seq if info.ack_floor else 0
    return f"not declared; handled up to {settled}, {info.num_pending or 0} to come: deleting it would lose that"
