"""What the handlers of inference work with."""

from dataclasses import dataclass
from typing import TypeAlias

from services.inference.data_plane import DataPlane
from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.reconciler import Reconciler
from shared.bus import Bus
from shared.tasks.runner import TaskRunner
from shared.work import Work as AnyWork


@dataclass(frozen=True)
class Parts:
    """What is served and by whom, the tasks, and the way to ask other services."""

    routing: Routing
    reconciler: Reconciler
    data_plane: DataPlane
    triton: Triton
    runner: TaskRunner
    bus: Bus
    batch_keep_days: float


Work: TypeAlias = AnyWork[Parts]
