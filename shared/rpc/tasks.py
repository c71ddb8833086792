"""Requests that every service with tasks answers; the id's kind says which service to ask."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.errors import NotFound
from shared.rpc.base import Reply, Request
from shared.streams import TASK_SERVICES
from shared.tasks.terms import Limits, Place, Remark, Resources, Retries, Tag


class TaskFailure(Reply):
    """Why a task failed: its error, the last lines of its log, and how its last process ended."""

    error_class: str
    message: str
    log: list[str] = []
    exit_signal: str = ""
    exit_code: int | None = None
    peak_memory: int | None = None


class TaskView(Reply):
    """A task as its owner knows it now; what is estimated is null where too little is known."""

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
    priority: int = 0
    tags: list[str] = []
    remark: str = ""
    waits_for: list[str] = []
    parent: str = ""
    place: Place = Place.LOCAL
    resources: Resources | None = None
    limits: Limits | None = None
    retries: Retries | None = None
    estimated_start: datetime | None = None
    estimated_end: datetime | None = None
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


class PauseTask(Request[TaskView]):
    """Let a task rest; a running one stops within seconds and keeps what it has reached."""

    task_id: str


class ResumeTask(Request[TaskView]):
    """Let a paused task wait for its turn again."""

    task_id: str


class NoteTask(Request[TaskView]):
    """Change what people note of a task, and how urgent it is; what is not given stays."""

    task_id: str
    priority: int | None = Field(default=None, ge=-100, le=100)
    tags: list[Tag] | None = Field(default=None, max_length=50)
    remark: Remark | None = None


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
