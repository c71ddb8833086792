"""The composition of evaluator."""

from functools import partial

from services.evaluator.data_plane import DataPlane
from services.evaluator.handlers import HANDLERS, Parts
from services.evaluator.job import EvaluateJob
from services.evaluator.settings import Settings
from shared import bus
from shared.body_store import BodyStore
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("evaluator", settings)
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)
    data_plane = DataPlane(partial(bus.connect, "evaluator", settings), bodies, settings)
    runner = TaskRunner(service, settings)
    runner.add(EvaluateJob(data_plane))
    service.handle(HANDLERS, Parts(runner))
    service.add_loop("tasks", runner.run)
    service.add_closing(runner.drain)
    service.add_closing(data_plane.close)
    return service
