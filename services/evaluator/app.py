"""The composition of evaluator."""

from functools import partial

from services.evaluator.data_plane import DataPlane
from services.evaluator.domain import Version
from services.evaluator.handlers import HANDLERS, Parts
from services.evaluator.job import EvaluateJob
from services.evaluator.settings import Settings
from shared import bus, observe
from shared.body_store import BodyStore
from shared.context import Context
from shared.errors import DeadlineExceeded, NotFound, Unavailable
from shared.rpc.inference import StageVersion
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("evaluator", settings)
    bodies = BodyStore(settings.artifacts_url, settings.home_dir)

    async def stage(version: Version) -> None:
        """A newer version may have taken its place among the staged ones while the evaluation waited for its turn."""
        asked = StageVersion(model=version.model, version=version.version)
        try:
            await service.bus.ask(asked, Context(project=version.project, actor=service.name))
        except (DeadlineExceeded, NotFound, Unavailable) as error:
            observe.log().info("not staged", model=version.model, version=version.version, error=error.message)

    data_plane = DataPlane(partial(bus.connect, "evaluator", settings), bodies, settings, stage)
    runner = TaskRunner(service, settings)
    runner.add(EvaluateJob(data_plane))
    service.handle(HANDLERS, Parts(runner))
    service.add_loop("tasks", runner.run)
    service.add_closing(runner.drain)
    service.add_closing(data_plane.close)
    return service
