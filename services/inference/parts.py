"""What the handlers of inference work with."""

from dataclasses import dataclass

from services.inference.data_plane import DataPlane
from services.inference.deferred.answering import Answering
from services.inference.domain import Routing
from services.inference.engine import Triton
from services.inference.reconciler import Reconciler
from services.inference.search.searcher import Searcher
from services.inference.settings import Settings
from shared.body_store import BodyStore
from shared.bus import Bus
from shared.sealing import KeyFile
from shared.tasks.runner import TaskRunner


@dataclass(frozen=True)
class Parts:
    """What answers now, what brings versions here, what answers later, the tasks, and the way to ask other services."""

    routing: Routing
    reconciler: Reconciler
    data_plane: DataPlane
    triton: Triton
    answering: Answering
    deferred_bodies: BodyStore
    runner: TaskRunner
    searcher: Searcher
    bus: Bus
    settings: Settings
    seal_keys: KeyFile
