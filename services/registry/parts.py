"""What the handlers of registry work with."""

from dataclasses import dataclass
from typing import TypeAlias

from services.registry.files import Files
from shared.bus import Bus
from shared.work import Work as AnyWork


@dataclass(frozen=True)
class Parts:
    """The files that people bring and take, and the way to ask other services."""

    files: Files
    bus: Bus


Work: TypeAlias = AnyWork[Parts]
