"""Where the processes of tasks run: what there is of it to be admitted to, and how one is started there."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from shared.tasks.store import Task
from shared.tasks.terms import Place, Resources

Spec = BaseModel | dict[str, Any]


@dataclass(frozen=True)
class Start:
    """The process that the service starts: its module and spec, bytes of memory that it may have, its Python.

    Where it is not watched, it tells itself what the work takes of a machine.
    """

    module: str
    spec: Spec
    memory: int
    python: str = sys.executable
    is_watched: bool = True


@dataclass(frozen=True)
class Ground(ABC):
    """A place with a name and so much to be taken of it."""

    place: ClassVar[Place]
    node: str
    capacity: Resources

    @abstractmethod
    def start(self, task: Task, module: str, spec: Spec, threads: int) -> Start:
        """What to start for a module of a task."""


@dataclass(frozen=True)
class LocalGround(Ground):
    """The node of the service: the module is its child."""

    place = Place.LOCAL

    def start(self, task: Task, module: str, spec: Spec, threads: int) -> Start:
        return Start(module, spec, task.terms.limits.memory or self.capacity.memory)
