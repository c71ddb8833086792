"""Requests that every service with tasks answers; the id's kind says which service to ask."""

from datetime import datetime
from typing import Any

from shared.errors import NotFound
from shared.rpc.base import Reply, Request
from shared.streams import TASK_SERVICES


class TaskFailure(Reply):
    """Why a task failed: its error, the last lines of its log, and how its last process ended."""

    error_class: str
    message: str
    log: list[str] = []
    exit_signal: str = ""
    exit_code: int | None = None
    peak_memory: int | None = None


class TaskView(Reply):
    """A task as its owner knows it now."""

    id: str
    project: str
    kind: str
    model: str
    state: str
    progress: float = 0.0
    note: str = ""
    seconds_left: float | None = None
    attempt: int = 0
    actor: str = ""
    correlation_id: str = ""
    parameters: dict[str, Any] = {}
    result: dict[str, Any] = {}
    error_class: str = ""
    error_message: str = ""
    failure: TaskFailure | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class MetricPoint(Reply):
    """One scalar of one epoch."""

    epoch: int
    name: str
    value: float
    at: datetime


class MetricPoints(Reply):
    """All scalars of a task, in order of epochs."""

    points: list[MetricPoint] = []


class GetTask(Request[TaskView]):
    """Show one task."""

    task_id: str


class CancelTask(Request[TaskView]):
    """Stop a task; a running one ends within seconds."""

    task_id: str


class GetTaskMetrics(Request[MetricPoints]):
    """Show the scalars of a task."""

    task_id: str


def owner_of(task_id: str) -> str:
    """The service that owns a task, from the kind in its id.

    Raises NotFound for an id of no known kind.
    """
    service = TASK_SERVICES.get(task_id.partition("-")[0])
    if service is None:
        raise NotFound(f"there is no task {task_id!r}: ids look like train-<uuid>")
    return service
