"""What the handlers of trainer work with."""

from dataclasses import dataclass

from services.trainer.settings import Settings
from shared.bus import Bus
from shared.tasks.runner import TaskRunner
from shared.work import Work as AnyWork


@dataclass(frozen=True)
class Parts:
    """The runner of its tasks, the bus to ask others, and its settings."""

    runner: TaskRunner
    bus: Bus
    settings: Settings


Work = AnyWork[Parts]
