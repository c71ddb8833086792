"""The composition root of trainer."""

from services.trainer.admission.desk import OwnDesk
from services.trainer.handlers import HANDLERS, Parts
from services.trainer.job import TrainJob
from services.trainer.optimising import OptimiseJob
from services.trainer.preparation import PrepareJob
from services.trainer.settings import Settings
from shared.service import Service
from shared.tasks.runner import TaskRunner


def build(settings: Settings | None = None) -> Service:
    settings = settings or Settings()
    service = Service("trainer", settings)
    assert service.database
    desk = OwnDesk(service.database, settings.project_weights)
    runner = TaskRunner(service, settings, desk)
    runner.add(TrainJob())
    runner.add(PrepareJob())
    runner.add(OptimiseJob())
    service.handle(HANDLERS, Parts(runner, service.bus, settings))
    service.add_loop("tasks", runner.run)
    service.add_closing(runner.drain)
    return service
