"""Domain tasks: said by every service that runs tasks, heard by monitor."""

from typing import Any, ClassVar

from shared.events.base import Event, Timestamp
from shared.events.common import TaskState


class TaskChanged(Event):
    """A task's state or progress changed; carries the whole row."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    kind: str = ""
    service: str = ""
    model: str = ""
    state: TaskState = TaskState.UNSPECIFIED
    progress: float = 0.0
    note: str = ""
    seconds_left: float | None = None
    attempt: int = 0
    actor: str = ""
    error_class: str = ""
    error_message: str = ""
    parameters: dict[str, Any] = {}
    result: dict[str, Any] = {}
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    remark: str = ""
    waits_for: tuple[str, ...] = ()
    parent: str = ""
