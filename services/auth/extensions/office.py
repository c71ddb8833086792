"""What extensions need beside the table: consumers, the door, the intake; and a look that puts right what differs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.auth.bootstrap import RECONCILE_SECONDS, Transaction
from services.auth.extensions import store
from services.auth.extensions.consumers import Consumers
from services.auth.extensions.desk import Desk, as_json
from services.auth.extensions.domain import Extension
from services.auth.extensions.door import Bouncer, Door
from services.auth.extensions.intake import Intake
from shared import observe
from shared.callout import CALLOUT_SUBJECT, Issuer
from shared.context import Context
from shared.service import Service
from shared.streams import EXTENSION_INTAKE


@dataclass(frozen=True)
class Office:
    """`url` is where extensions reach the bus."""

    consumers: Consumers
    bouncer: Bouncer
    transaction: Transaction
    url: str
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def read(self, make: Callable[[], Extension]) -> Extension:
        """Make an extension of what was asked for beside the loop, one at a time: its schemas may take a second."""
        async with self.turn:
            return await asyncio.to_thread(make)

    async def run(self) -> None:
        while True:
            await self.reconcile()
            await asyncio.sleep(RECONCILE_SECONDS)

    async def reconcile(self) -> None:
        """Consumers as the table has them, and nobody connected who may not be."""
        async with self.transaction(Context(actor="auth")) as work:
            await store.lock_all(work.tx)
            known = await store.listed(work.tx)
            there, wanted = await self.consumers.names(), {each.consumer for each in known if each.hears}
            for extension in known:
                if extension.hears and extension.consumer not in there:
                    observe.log().warning("consumer of an extension made again", extension=extension.user)
                    await self.consumers.put(extension)
            for name in there - wanted:
                await self.consumers.remove(name)
        await self.bouncer.sweep({extension.user: extension for extension in known})


def open_office(
    service: Service,
    transaction: Transaction,
    published: Callable[[list[str]], Awaitable[None]],
    secret: str,
    urls: tuple[str, str],
) -> Office:
    """Set up all of it; `urls` are the bus for auth itself and for extensions."""
    issuer, bus = Issuer(secret), service.bus
    bouncer = Bouncer(issuer, urls[0])
    office = Office(Consumers(lambda: bus.js), bouncer, transaction, urls[1])
    door, intake = Door(issuer, transaction), Intake(transaction, published)
    desks = {
        "door of the bus": Desk(CALLOUT_SUBJECT, lambda message: door.answer(message.data), lambda: bus.connection),
        "extensions' events": Desk(EXTENSION_INTAKE, as_json(intake.take), lambda: bus.connection),
    }
    for name, desk in desks.items():
        service.add_loop(name, desk.run)
    service.add_loop("extensions", office.run)
    service.add_closing(bouncer.close)
    return office
