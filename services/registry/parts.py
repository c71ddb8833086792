"""What the handlers of registry work with."""

from dataclasses import dataclass
from typing import TypeAlias

from services.registry.files import Files
from shared.artifacts import Artifacts
from shared.bus import Bus
from shared.work import Work as AnyWork


@dataclass(frozen=True)
class Parts:
    """The files that people bring and take, the way to ask other services, and all artifacts."""

    files: Files
    bus: Bus
    artifacts: Artifacts


Work: TypeAlias = AnyWork[Parts]
