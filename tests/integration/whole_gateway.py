"""The gateway and the services behind it in one process, on a bus with everybody's own allow-lists; no Triton."""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import nats as nats_client
import pytest

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import bus_users, declarations, provision_bus_over
from services.inference.batch.job import BatchJob
from services.inference.deferred.answering import Answering
from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.handlers import HANDLERS as INFERENCE
from services.inference.parts import Parts as InferenceParts
from services.inference.reconciler import Reconciler
from services.inference.search.searcher import Searcher
from services.inference.settings import Settings as InferenceSettings
from services.trainer.handlers import HANDLERS as TRAINER
from services.trainer.job import TrainJob
from services.trainer.parts import Parts as TrainerParts
from services.trainer.runs.job import RunJob
from services.trainer.settings import Settings as TrainerSettings
from services.trainer.tuning.job import TuneJob
from shared.body_store import DEFERRED, BodyStore
from shared.sealing import KeyFile
from shared.service import Service
from shared.streams import SERVICES
from shared.tasks.runner import TaskRunner
from tests.conftest import DatabaseUrls
from tests.integration.gateway_neighbours import Neighbours, bearer
from tests.integration.running import running_service, until

AS_BUILT = ("auth", "registry", "evaluator", "monitor", "gateway")
MODEL = "digits-cnn"


class Whole:
    """What a test asks over HTTP as the administrator."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        openapi: dict[str, Any],
        services: dict[str, Service],
        neighbours: Neighbours,
        routing: Routing,
    ) -> None:
        self.http, self.openapi, self.services = http, openapi, services
        self.neighbours, self.routing = neighbours, routing

    async def send(self, method: str, path: str, **given: Any) -> httpx.Response:
        """An answer that does not say that a part of the platform is too busy now."""
        reply = await self.http.request(method, path, **given)
        for _ in range(3):
            if reply.status_code not in (503, 504):
                break
            reply = await self.http.request(method, path, **given)
        return reply


@contextmanager
def environment(server: NatsServer, urls: DatabaseUrls, folder: Path) -> Iterator[int]:
    """The settings of all services; the gateway's port."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for service in SERVICES:
            (folder / service).mkdir()
            patch.setenv(f"{service.upper()}_NATS_URL", server.servers)
            patch.setenv(f"{service.upper()}_NATS_USER", service)
            patch.setenv(f"{service.upper()}_NATS_PASSWORD", "password")
            patch.setenv(f"{service.upper()}_HOME_DIR", str(folder / service))
            patch.setenv(f"{service.upper()}_ARTIFACTS_URL", (folder / "artifacts").as_uri())
            if service != "gateway":
                patch.setenv(f"{service.upper()}_DATABASE_URL", urls.url(service))
        patch.setenv("AUTH_ADMIN_KEY_FILE", str(folder / "admin.key"))
        patch.setenv("GATEWAY_PORT", str(port))
        patch.setenv("GATEWAY_INFER_BYTES", str(1024**2))
        patch.setenv("GATEWAY_CREDENTIALS_STALE_SECONDS", "60")
        patch.setenv("INFERENCE_TRITON_URL", "http://127.0.0.1:1")
        patch.setenv("INFERENCE_TRITON_REPOSITORY", str(folder))
        patch.setenv("INFERENCE_TRITON_ACCESS_HEADER_NAME", "key")
        patch.setenv("INFERENCE_TRITON_ACCESS_HEADER_VALUE", "value")
        yield port


def trainer() -> Service:
    """Takes tasks, and runs none."""
    settings = TrainerSettings()
    service = Service("trainer", settings)
    runner = TaskRunner(service, settings)
    runner.add(TrainJob())
    runner.add(TuneJob(runner))
    runner.add(RunJob())
    service.handle(TRAINER, TrainerParts(runner, service.bus, settings))
    return service


def inference(routing: Routing) -> Service:
    """Answers requests about deployments, reaches no Triton, and works on nothing."""
    settings = InferenceSettings()
    service = Service("inference", settings)
    assert service.database and service.relay
    nobody: Any = None
    triton = Triton(settings.triton_url, "127.0.0.1:1", ("key", "value"))
    deferred = BodyStore(settings.artifacts_url, settings.home_dir, DEFERRED)
    stored = (settings, service.database, service.relay)
    reconciler = Reconciler(*stored, triton, routing, nobody, nobody)
    answering = Answering(*stored, routing, nobody, deferred, lambda: None)
    runner = TaskRunner(service, settings)
    runner.add(BatchJob(nobody, settings))
    searcher = Searcher(service.database, nobody)
    service.add_closing(triton.close)
    here = (routing, reconciler, nobody, triton, answering, deferred, runner, searcher)
    service.handle(INFERENCE, InferenceParts(*here, service.bus, settings, KeyFile(settings.seal_keys)))
    return service


def services(routing: Routing) -> Iterator[tuple[Service, Any]]:
    yield trainer(), TRAINER
    yield inference(routing), INFERENCE
    for name in AS_BUILT:
        yield import_module(f"services.{name}.app").build(), import_module(f"services.{name}.handlers").HANDLERS


@asynccontextmanager
async def whole_gateway(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Whole]:
    users = bus_users(dict.fromkeys(SERVICES, "password"))
    async with AsyncExitStack() as stack:
        server = stack.enter_context(nats_server(folder / "nats", users))
        port = stack.enter_context(environment(server, urls, folder))
        await provision_bus_over(server.url, declarations())
        started: dict[str, Service] = {}
        routing = Routing(sure_until=math.inf)
        for service, handlers in services(routing):
            started[service.name] = service
            await stack.enter_async_context(running_service(service, handlers, server))
        connection = await nats_client.connect(server.url)
        stack.push_async_callback(connection.close)
        neighbours = Neighbours(connection)
        await neighbours.serve(MODEL)
        headers = bearer((folder / "admin.key").read_text().strip())
        base = f"http://127.0.0.1:{port}"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=base, headers=headers, timeout=30))

        async def let_in() -> bool:
            return (await http.get("/v2")).status_code == 200

        await until(let_in)
        yield Whole(http, (await http.get("/openapi.json")).json(), started, neighbours, routing)
