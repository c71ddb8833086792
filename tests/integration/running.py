"""A service of ours on a real bus that knows its allow-lists, and how a test speaks with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats as nats_client
from nats.js import JetStreamContext
from pydantic import SecretStr

from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import allow_lists, provision_bus_over
from shared.bus import Bus
from shared.context import Context
from shared.envelope import Envelope
from shared.events.base import Event
from shared.handlers import Handlers
from shared.service import Service
from shared.settings import ServiceSettings
from shared.streams import SERVICES

DEADLINE = 180


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = DEADLINE) -> Any:
    """The condition's value, once it is true; asked ever less often, as asking costs what it waits for time."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(min(0.02 + (time.monotonic() - begun) / 20, 0.25))
        return value


@contextmanager
def guarded_bus(folder: Path, handlers: Handlers) -> Iterator[NatsServer]:
    """A bus on which the service may do what it declares; the other users may do everything."""
    users = {name: BusUser("password") for name in SERVICES}
    users[handlers.service] = BusUser("password", allow_lists(handlers.declaration))
    with nats_server(folder, users) as server:
        yield server


@dataclass
class Running:
    """A service that runs, and the administrator's side of its bus."""

    service: Service
    js: JetStreamContext
    server: NatsServer
    published: dict[str, int] = field(default_factory=dict)

    async def publish(self, event: Event, *, to: str = "", **envelope: Any) -> Envelope:
        """Publish as the outbox does; equal ids pass the stream's deduplication."""
        given = {"type": event.type_name(), "source": "test"} | envelope
        if "subject" not in given:
            given["subject"] = event.aggregate
        sent = Envelope(**given)
        headers = {name: value for name, value in sent.to_headers().items() if name != "Nats-Msg-Id"}
        body = event.model_dump_json().encode()
        stored = await self.js.publish(to or event.subject(sent.project), body, headers=headers)
        self.published[stored.stream] = stored.seq
        return sent

    async def settled(self) -> None:
        """All that was published is handled or buried."""
        await until(self._is_settled)

    async def _is_settled(self) -> bool:
        for stream, last in self.published.items():
            floor = (await self.js.consumer_info(stream, self.service.name)).ack_floor
            if floor is None or floor.stream_seq < last:
                return False
        return True

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        assert self.service.database is not None
        async with self.service.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *values)]

    async def said(self, *kinds: type[Event]) -> list[Any]:
        """The events of these types that the bus holds, in its order, once the outbox is empty."""
        await until(self._outbox_is_empty)
        by_type = {kind.type_name(): kind for kind in kinds}
        state = (await self.js.stream_info("EVT")).state
        messages = [await self.js.get_msg("EVT", number) for number in range(state.first_seq, state.last_seq + 1)]
        found = [((message.headers or {})["ce-type"], message.data or b"") for message in messages]
        return [by_type[name].model_validate_json(body) for name, body in found if name in by_type]

    async def _outbox_is_empty(self) -> bool:
        return not await self.rows("SELECT 1 FROM outbox WHERE published_at IS NULL")

    async def dead_letters(self) -> int:
        return int((await self.js.stream_info("DLQ")).state.messages)


@asynccontextmanager
async def running_service(service: Service, handlers: Handlers, server: NatsServer) -> AsyncIterator[Running]:
    """Provision, start, wait until ready; drain at the end."""
    await provision_bus_over(server.url, [handlers.declaration])
    task = asyncio.create_task(service.run())
    connection = await nats_client.connect(server.url)

    async def ready() -> bool:
        if task.done():
            await task
        return service.readiness.problems() == {}

    await until(ready)
    try:
        yield Running(service, connection.jetstream(timeout=DEADLINE), server)
    finally:
        await connection.close()
        service.stop()
        await task


@asynccontextmanager
async def running(
    handlers: Handlers, parts: Any, settings: ServiceSettings, server: NatsServer
) -> AsyncIterator[Running]:
    """A service made of handlers and their parts alone."""
    service = Service(handlers.service, settings)
    service.handle(handlers, parts)
    async with running_service(service, handlers, server) as started:
        yield started


Ask = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def asking(server: NatsServer) -> AsyncIterator[Ask]:
    """Ask services as the gateway does; further arguments are the context's."""
    settings = ServiceSettings(nats_url=server.servers, nats_user="gateway", nats_password=SecretStr("password"))
    bus = Bus("gateway", settings)
    await bus.connect()

    async def ask(request: Any, service: str | None = None, **context: Any) -> Any:
        return await bus.ask(request, Context(**({"actor": "ada"} | context)), service=service, seconds=DEADLINE)

    try:
        yield ask
    finally:
        await bus.broker.stop()
