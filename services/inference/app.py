"""The composition root of inference."""

from functools import partial

from services.inference.batch.caller import Caller
from services.inference.batch.job import BatchJob
from services.inference.data_plane import DataPlane
from services.inference.deferred.answering import Answering
from services.inference.deferred.cleaning import Cleaning
from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.handlers import HANDLERS
from services.inference.parts import Parts
from services.inference.prediction_log import PredictionLog
from services.inference.reconciler import Reconciler
from services.inference.resources.residency import Residency
from services.inference.search.job import IndexJob
from services.inference.search.searcher import Searcher
from services.inference.settings import Settings
from services.inference.webhooks.delivery import Delivery
from services.inference.webhooks.store import SECRETS
from shared import bus
from shared.body_pool import Pools
from shared.body_store import DEFERRED, BodyStore
from shared.outbound import Outbound
from shared.resealing import Resealing
from shared.sealing import KeyFile
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("inference", settings, data_plane=True)
    assert service.database and service.relay
    stored = (service.database, service.relay)
    key = settings.triton_access_header_value.get_secret_value()
    triton = Triton(
        settings.triton_url,
        settings.triton_grpc,
        (settings.triton_access_header_name, key),
        numbered=settings.triton_backend == "python",
        least=settings.triton_least,
        pools=(pools := Pools()),
    )
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)
    deferred = BodyStore(settings.artifacts_url, settings.home_dir, DEFERRED)
    outbound = Outbound(settings.webhook_timeout_seconds, inside=settings.webhook_inside)
    routing, log = Routing(), PredictionLog(settings.node)
    data_plane = DataPlane(triton, routing, log, bodies, settings, pools)
    residency = Residency(settings, service.relay, triton, routing, data_plane)
    reconciler = Reconciler(settings, *stored, triton, routing, data_plane, residency)
    keys = KeyFile(settings.seal_keys)
    delivery = Delivery(settings, *stored, deferred, outbound, keys)
    secrets = Resealing(service.database, keys, [SECRETS])
    answering = Answering(settings, *stored, routing, data_plane, deferred, delivery.wake)
    runner = TaskRunner(service, settings)
    caller = Caller(service.bus, bodies, settings)
    runner.add(BatchJob(caller, settings))
    runner.add(IndexJob(caller, settings))
    searcher = Searcher(service.database, caller)
    within = (answering, deferred, runner, searcher, service.bus, settings, keys)
    service.handle(HANDLERS, Parts(routing, reconciler, data_plane, triton, *within))
    service.add_loop("reconciler", partial(_reconcile, settings, data_plane, reconciler))
    service.add_loop("resources", residency.run)
    service.add_loop("decisions", residency.telling)
    service.add_loop("deferred requests", answering.run)
    service.add_loop("cleaning", Cleaning(settings, service.database, deferred).run)
    service.add_loop("webhooks", delivery.run)
    service.add_loop("secrets", secrets.run)
    service.add_loop("tasks", runner.run)
    service.add_loop("prediction log", lambda: log.run(service.bus.js))
    service.add_check("triton", triton.problem)
    service.add_check("deployments", reconciler.problem)
    service.add_check("secrets", secrets.problem)
    for closing in (residency.leave, runner.drain, answering.drain, data_plane.drain):
        service.add_closing(closing)
    service.add_closing(lambda: log.flush(service.bus.js))
    service.add_closing(reconciler.leave)
    service.add_closing(triton.close)
    return service


async def _reconcile(settings: Settings, data_plane: DataPlane, reconciler: Reconciler) -> None:
    """The data plane has a connection of its own, one for good: who is asked over one may not answer over another."""
    if not data_plane.has_connection:
        data_plane.connect(await bus.connect("inference", settings))
    await reconciler.run()
