"""Posts answers to webhooks, again and again with growing pauses, until they are taken or the time is over."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

from services.inference.deferred.domain import Inference
from services.inference.settings import Settings
from services.inference.webhooks import domain, store
from services.inference.webhooks.store import Due
from shared import observe
from shared.body_store import BodyStore
from shared.db import Database
from shared.errors import AimassError
from shared.events.inference import DeliveryAbandoned
from shared.outbound import Outbound
from shared.outbox import Relay
from shared.sealing import KeyFile

POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 16
LEASE_MARGIN: Final = 20.0
GONE: Final = 410
POSTED = Counter("aimass_webhook_attempts_total", "Attempts to post an answer to a webhook", ["outcome"])


class Delivery:
    """One loop of a node; who takes a delivery has it for the time of one attempt, by the database's clock."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        relay: Relay,
        bodies: BodyStore,
        outbound: Outbound,
        keys: KeyFile,
    ) -> None:
        self._settings, self._database, self._relay = settings, database, relay
        self._bodies, self._outbound, self._keys = bodies, outbound, keys
        self._woken = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """There is an answer to post: do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver for ever; what is down now is tried again at the next turn."""
        while True:
            self._woken.clear()
            try:
                await self._turn()
            except AimassError as error:
                observe.log().warning("webhooks wait", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()

    async def _turn(self) -> None:
        lease = self._settings.webhook_timeout_seconds + LEASE_MARGIN
        if not (free := AT_ONCE - len(self._under_way)):
            return
        async with self._database.connection() as connection:
            due = await store.claim_due(connection, lease, free)
        for one in due:
            task = asyncio.create_task(self._deliver(one))
            self._under_way.add(task)
            task.add_done_callback(self._on_delivered)

    def _on_delivered(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._woken.set()

    async def _deliver(self, due: Due) -> None:
        """One attempt and what it came to; where that cannot be written, it is made again."""
        try:
            problem, is_final = await self._attempt(due)
            POSTED.labels("failed" if problem else "delivered").inc()
            await self._settle(due, problem, is_final=is_final)
        except Exception as error:
            observe.log().warning("delivery goes on later", inference=due.inference.id, error=repr(error))

    async def _attempt(self, due: Due) -> tuple[str, bool]:
        """The problem, if there is one, and whether it lasts."""
        if due.url is None:
            return "the webhook was deleted", True
        body = domain.message(due.inference, await self._answer(due.inference))
        try:
            headers = domain.signed(self._secret(due), due.inference.id, int(time.time()), body)
            status = await self._outbound.post(due.url, headers, body)
        except AimassError as error:
            return error.message, False
        return ("", False) if 200 <= status < 300 else (f"the receiver answered {status}", status == GONE)

    def _secret(self, due: Due) -> str:
        """Raises NotOurs where its key is lost; one that still stands in clear is sealed soon."""
        if due.sealed is None:
            return due.clear or ""
        purpose = domain.purpose(due.inference.project, due.inference.webhook or "")
        return self._keys.sealer().open(due.sealed, purpose).decode()

    async def _answer(self, ended: Inference) -> bytes | None:
        return bytes(await self._bodies.fetch(ended.answer_name)) if domain.carries(ended) else None

    async def _settle(self, due: Due, problem: str, *, is_final: bool) -> None:
        settings, one = self._settings, due.inference
        rest = domain.pause(one.deliveries, settings.webhook_first_seconds, random.random())
        is_over = is_final or due.age + rest > settings.webhook_hours * 3600
        async with self._relay.work(one.origin) as work:
            if not problem:
                await store.settle(work.tx, due, "delivered")
            elif not is_over:
                await store.settle(work.tx, due, "waiting", problem, rest)
            elif await store.settle(work.tx, due, "abandoned", problem):
                about = {"inference_id": one.id, "model": one.model, "webhook": one.webhook or ""}
                work.say(DeliveryAbandoned(attempts=one.deliveries, reason=problem, **about))
