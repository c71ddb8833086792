"""The composition root of trainer."""

from services.trainer.admission.desk import OwnDesk
from services.trainer.handlers import HANDLERS
from services.trainer.job import TrainJob
from services.trainer.on_ray.ground import RayGround
from services.trainer.optimising import OptimiseJob
from services.trainer.parts import Parts
from services.trainer.pipelines import store as pipelines
from services.trainer.pipelines.driver import Driver
from services.trainer.preparation import PrepareJob
from services.trainer.runs.job import RunJob, SilentRuns
from services.trainer.schedules import store as schedules
from services.trainer.schedules.turns import Clock
from services.trainer.settings import Settings
from services.trainer.tuning.job import TuneJob
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("trainer", settings)
    assert service.database and service.relay
    desk = OwnDesk(service.database, settings.project_weights)
    runner = TaskRunner(service, settings, desk)
    if settings.ray_address:
        runner.add_ground(RayGround.of(settings))
    runner.add(TrainJob())
    runner.add(PrepareJob())
    runner.add(OptimiseJob())
    runner.add(RunJob())
    runner.add(TuneJob(runner))
    parts = Parts(runner, service.bus, settings)
    service.handle(HANDLERS, parts)
    service.add_loop("tasks", runner.run)
    service.add_loop("schedules", Clock(service.name, service.database, service.relay, parts).run)
    service.add_loop("pipelines", Driver(service.name, service.database, service.relay, parts).run)
    service.add_pruning(schedules.PRUNE_CHAINS)
    service.add_pruning(pipelines.PRUNE_FACTS)
    silent = SilentRuns(service.database, service.relay, settings.run_silence_hours * 3600)
    service.add_loop("silent runs", silent.run)
    service.add_closing(runner.drain)
    return service
