"""Deferred requests on real NATS and PostgreSQL: nodes that answer them with what a test gives them, without Triton."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from deploy.embedded.testing_servers import NatsServer
from services.inference import store
from services.inference.deferred.answering import Answering
from services.inference.deferred.cleaning import Cleaning
from services.inference.domain import Deployment, Routing
from services.inference.handlers import HANDLERS
from services.inference.parts import Parts
from services.inference.settings import Settings
from shared import frames
from shared.artifacts import digest_of
from shared.body_store import DEFERRED, BodyStore
from shared.context import Context
from shared.errors import AimassError
from shared.events.common import Signature
from shared.names import new_id
from shared.rpc.inference import DeferInference, GetInference, InferenceView
from shared.sealing import KeyFile
from shared.service import Service
from tests.integration.running import Running, running_service, until

MODEL = "m"
DEPLOYED = Deployment("default", MODEL, 1, "d" * 64, Signature(), "serving")
Script = Callable[[frames.Request], Awaitable[frames.Reply]]


async def echo(request: frames.Request) -> frames.Reply:
    """An answer that is the body again."""
    return frames.Reply(request.prediction_id, 200, bytes(request.body), "1")


@dataclass
class Model:
    """Stands where the data plane of a node is: notes who asks, and answers as told."""

    script: Script = echo
    asked: list[str] = field(default_factory=list)

    async def answer(self, project: str, model: str, request: frames.Request) -> frames.Reply:
        self.asked.append(str(UUID(bytes=request.prediction_id)))
        return await self.script(request)


def serving() -> Routing:
    """A node on which the model is ready."""
    return Routing(wanted={DEPLOYED.name: DEPLOYED}, ready=frozenset({DEPLOYED.name}))


class Desk:
    """What accepts, what answers, and what a test asks."""

    def __init__(self, running: Running, bodies: BodyStore, settings: Settings) -> None:
        self.running, self.bodies, self.settings = running, bodies, settings
        self.service = running.service

    async def defer(self, body: bytes = b"{}", project: str = "default", **given: Any) -> InferenceView:
        inference_id, context = new_id(), given.pop("context", {})
        await self.bodies.keep(f"{inference_id.replace('-', '')}-request", body)
        facts = {"id": inference_id, "model": MODEL, "version": 1, "digest": digest_of(body), "size": len(body)}
        return await self.ask(DeferInference(**facts | given), project, **context)

    async def ask(self, request: Any, project: str = "default", **context: Any) -> Any:
        return await self.service.bus.ask(request, Context(project=project, actor="ada", **context), seconds=60)

    async def show(self, inference_id: str) -> InferenceView:
        return cast(InferenceView, await self.ask(GetInference(id=inference_id)))

    async def becomes(self, inference_id: str, state: str) -> InferenceView:
        async def found() -> InferenceView | None:
            shown = await self.show(inference_id)
            return shown if shown.state == state else None

        return cast(InferenceView, await until(found))

    async def kept(self) -> list[str]:
        return [name async for names in self.bodies.older(-60) for name in names]

    def node(self, model: Model, **changed: Any) -> Answering:
        """Another node that answers."""
        return answering(self.service, self.settings.model_copy(update=changed), model, self.bodies)

    def cleaning(self, **changed: Any) -> Cleaning:
        """A node that cleans."""
        assert self.service.database
        return Cleaning(self.settings.model_copy(update=changed), self.service.database, self.bodies)

    @asynccontextmanager
    async def working(self, *nodes: Answering) -> AsyncIterator[None]:
        """These nodes work, and are drained at the end."""
        tasks = [asyncio.create_task(node.run()) for node in nodes]
        try:
            yield
        finally:
            for node in nodes:
                await node.drain()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, AimassError):
                    await task


def answering(service: Service, settings: Settings, model: Model, bodies: BodyStore) -> Answering:
    assert service.database and service.relay
    stands_in, no_delivery = cast(Any, model), lambda: None
    return Answering(settings, service.database, service.relay, serving(), stands_in, bodies, no_delivery)


@asynccontextmanager
async def open_desk(settings: Settings, nats: NatsServer) -> AsyncIterator[Desk]:
    """A service that accepts requests for version 1 of the model in projects `default` and `other`."""
    service = Service("inference", settings)
    assert service.database
    nobody: Any = None
    bodies = BodyStore(settings.artifacts_url, settings.home_dir, DEFERRED)
    answers = answering(service, settings, Model(), bodies)
    within = (answers, bodies, nobody, nobody, service.bus, settings, KeyFile(settings.seal_keys))
    parts = Parts(serving(), nobody, nobody, nobody, *within)
    service.handle(HANDLERS, parts)
    async with service.database.transaction() as tx:
        for project in ("default", "other"):
            await store.insert(tx, Deployment(project, MODEL, 1, "d" * 64, Signature(), "loading"))
    async with running_service(service, HANDLERS, nats) as running:
        yield Desk(running, bodies, settings)
