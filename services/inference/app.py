"""The composition of inference."""

from services.inference.batch.caller import Caller
from services.inference.batch.job import BatchJob
from services.inference.data_plane import DataPlane
from services.inference.deferred.answering import Answering
from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.handlers import HANDLERS
from services.inference.parts import Parts
from services.inference.prediction_log import PredictionLog
from services.inference.reconciler import Reconciler
from services.inference.settings import Settings
from services.inference.webhooks.delivery import Delivery
from shared import bus
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("inference", settings, data_plane=True)
    assert service.database and service.relay
    key = settings.triton_access_header_value.get_secret_value()
    triton = Triton(settings.triton_url, settings.triton_grpc, (settings.triton_access_header_name, key))
    routing, log = Routing(), PredictionLog(settings.node)
    data_plane = DataPlane(triton, routing, log, settings)
    reconciler = Reconciler(settings, service.database, service.relay, triton, routing, data_plane)
    delivery = Delivery(settings, service.database, service.relay)
    answering = Answering(settings, service.database, service.relay, routing, data_plane, delivery)
    runner = TaskRunner(service, settings)
    runner.add(BatchJob(Caller(service.bus, settings), settings))
    parts = Parts(routing, reconciler, data_plane, triton, answering, runner, service.bus, settings)
    service.handle(HANDLERS, parts)

    async def reconcile() -> None:
        data_plane.connect(await bus.connect("inference", settings))
        await reconciler.run()

    async def triton_problem() -> str:
        return "" if await triton.is_ready() else "not reachable"

    async def drain() -> None:
        await runner.drain()
        await answering.drain()
        await data_plane.drain()
        await log.flush(service.bus.js)
        await reconciler.leave()
        await triton.close()

    service.add_loop("reconciler", reconcile)
    service.add_loop("accepted requests", answering.run)
    service.add_loop("answers", answering.sweep)
    service.add_loop("webhooks", delivery.run)
    service.add_loop("tasks", runner.run)
    service.add_loop("prediction log", lambda: log.run(service.bus.js))
    service.add_check("triton", triton_problem)
    service.add_check("deployments", reconciler.problem)
    service.add_closing(drain)
    return service
