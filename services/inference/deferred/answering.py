"""Answers deferred requests: takes them under a lease, asks the data plane of this node, keeps the answer once."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from prometheus_client import Counter, Gauge

from services.inference.data_plane import DataPlane
from services.inference.deferred import store
from services.inference.deferred.domain import MOST_ATTEMPTS, Inference, State, may_pass, outcome, pause
from services.inference.deferred.store import Taken
from services.inference.domain import Routing
from services.inference.replies import refusal
from services.inference.settings import Settings
from shared import frames, observe
from shared.body_store import BodyStore
from shared.db import Database
from shared.errors import AimassError, NotFound
from shared.events.inference import InferenceCompleted, InferenceFailed
from shared.outbox import Relay
from shared.sharing import credential, owned
from shared.work import Work

POLL_SECONDS: Final = 0.5
NOTE_LENGTH: Final = 500
ANSWERED = Counter("aimass_deferred_requests_total", "Deferred requests answered", ["project", "model", "state"])
UNDER_WAY = Gauge("aimass_deferred_requests_under_way", "Deferred requests that this node works on")


class Answering:
    """One loop of a node and the requests that it works on; whoever dies leaves them to the lease."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        relay: Relay,
        routing: Routing,
        data_plane: DataPlane,
        bodies: BodyStore,
        wake_delivery: Callable[[], None],
    ) -> None:
        self._settings, self._database, self._relay = settings, database, relay
        self._routing, self._data_plane = routing, data_plane
        self._bodies, self._wake_delivery = bodies, wake_delivery
        self._held: dict[str, tuple[Inference, asyncio.Task[None]]] = {}
        self._renewed = 0.0
        self._woken = asyncio.Event()
        self._draining = False
        UNDER_WAY.set_function(lambda: len(self._held))

    async def wake(self) -> None:
        """A request was accepted here: do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Work for ever; what is down now is tried again at the next turn."""
        while not self._draining:
            self._woken.clear()
            try:
                await self._turn()
            except AimassError as error:
                observe.log().warning("deferred requests wait", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()

    async def drain(self) -> None:
        """Give back what is in work, so that another node goes on with it at once."""
        self._draining = True
        tasks = [task for _, task in self._held.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _turn(self) -> None:
        await self._renew()
        if (free := self._settings.deferred_at_once - len(self._held)) <= 0:
            return
        lease, most = self._settings.deferred_lease_seconds, self._settings.deferred_hours * 3600
        async with self._database.connection() as connection:
            taken = await store.claim(connection, self._routing.models(), lease, most, free)
        for one in taken:
            task = asyncio.create_task(self._attend(one))
            self._held[one.inference.id] = one.inference, task
            task.add_done_callback(self._let_go)

    def _let_go(self, ended: "asyncio.Task[None]") -> None:
        self._held = {name: held for name, held in self._held.items() if held[1] is not ended}
        self._woken.set()

    async def _renew(self) -> None:
        """Hold the leases; what was cancelled, or is another's by now, is not worth the work."""
        lease, now = self._settings.deferred_lease_seconds, time.monotonic()
        if not self._held or now - self._renewed < lease / 4:
            return
        held = [inference for inference, _ in self._held.values()]
        async with self._database.transaction() as tx:
            ours = await store.renew(tx, held, lease)
        self._renewed = now
        for one in held:
            if one.id not in ours and one.id in self._held:
                self._held[one.id][1].cancel()

    async def _attend(self, taken: Taken) -> None:
        """Work on one request; where its end cannot be written the lease runs out and another goes on."""
        try:
            await self._attempt_or_put_back(taken)
        except Exception as error:
            observe.log().warning("deferred request goes on later", inference=taken.inference.id, error=repr(error))

    async def _attempt_or_put_back(self, taken: Taken) -> None:
        """What may pass, such as a store that is away, is no fault of the request and is not counted."""
        inference = taken.inference
        try:
            await self._attempt(taken)
        except asyncio.CancelledError:
            await self._put_back(inference, "the node stops", 0)
        except AimassError as error:
            if not may_pass(error):
                raise
            await self._put_back(inference, error.message, pause(inference.fence, random.random()))

    async def _attempt(self, taken: Taken) -> None:
        inference = taken.inference
        try:
            reply = await self._reply(inference)
        except AimassError as error:
            if may_pass(error) and not taken.is_late:
                raise
            (reply,) = refusal((UUID(inference.id).bytes,), error).replies()
        attempts = inference.attempts + 1
        to = outcome(reply.status, attempts, is_late=taken.is_late)
        if to is State.QUEUED:
            rest = pause(attempts, random.random())
            await self._put_back(inference, _reason(reply), rest, attempts=attempts)
        else:
            await self._conclude(inference, to, reply)

    async def _reply(self, inference: Inference) -> frames.Reply:
        """What the data plane says; raises what refuses the request before any call."""
        if inference.attempts >= MOST_ATTEMPTS:
            raise AimassError(f"{inference.attempts} attempts began and none ended with an answer")
        try:
            body = await self._bodies.fetch(inference.body_name)
        except NotFound:
            raise AimassError("the body of this request was lost") from None
        request = _request(inference, body, self._settings.deferred_attempt_seconds)
        return await self._data_plane.answer(*owned(inference.project, inference.model), request)

    async def _put_back(self, inference: Inference, note: str, seconds: float, *, attempts: int | None = None) -> None:
        async with self._database.transaction() as tx:
            if held := await store.hold(tx, inference):
                counted = held.attempts if attempts is None else attempts
                await store.postpone(tx, held, note[:NOTE_LENGTH], seconds, attempts=counted)

    async def _conclude(self, inference: Inference, to: State, reply: frames.Reply) -> None:
        """Keep the answer, then say so; an answer whose row another has taken is dropped."""
        await self._bodies.keep(inference.answer_name, bytes(reply.body))
        async with self._relay.work(inference.origin) as work:
            held = await store.hold(work.tx, inference)
            if held is not None:
                note = "" if to is State.DONE else _reason(reply)
                _tell(work, await store.conclude(work.tx, held, to, reply, note))
        if held is not None:
            ANSWERED.labels(inference.project, inference.model, to.value).inc()
        if inference.webhook is not None:
            self._wake_delivery()
        await self._bodies.drop(inference.body_name if held else inference.answer_name)


def _request(inference: Inference, body: frames.Body, seconds: float) -> frames.Request:
    owner, _ = owned(inference.project, inference.model)
    return frames.Request(
        UUID(inference.id).bytes,
        int((time.time() + seconds) * 1000),
        body,
        inference.header_length,
        traceparent=inference.origin.traceparent,
        credential=credential(inference.project, inference.origin.actor, owner),
        version="" if inference.version is None else str(inference.version),
    )


def _reason(reply: frames.Reply) -> str:
    """What an answer that is an error says."""
    return str(json.loads(bytes(reply.body))["error"])[:NOTE_LENGTH]


def _tell(work: Work[None], ended: Inference) -> None:
    about = {"inference_id": ended.id, "model": ended.model, "attempts": ended.attempts}
    if ended.state is State.DONE:
        version, size = int(ended.reply_version or 0), ended.reply_size or 0
        work.say(InferenceCompleted(version=version, size=size, **about))
    else:
        work.say(InferenceFailed(status=ended.status or 0, reason=ended.note, **about))
