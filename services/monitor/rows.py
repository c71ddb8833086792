"""What monitor keeps of an event and of a task, in the order in which it is stored; pure, as it is rebuilt too."""

from datetime import datetime
from typing import Any

from shared.context import Context
from shared.envelope import Envelope
from shared.events.tasks import TaskChanged
from shared.rpc.tasks import TaskView
from shared.tasks.state import short

Row = tuple[Any, ...]


def event_row(envelope: Envelope, context: Context, at: datetime, data: dict[str, Any]) -> Row:
    """The values of INSERT_EVENT."""
    return (
        envelope.project,
        envelope.source,
        envelope.id,
        envelope.type,
        envelope.subject,
        envelope.sequence,
        envelope.position,
        at,
        context.actor,
        context.correlation_id,
        envelope.causation_id,
        data,
    )


def task_row(task: TaskChanged, sequence: int, project: str, correlation_id: str, at: datetime) -> Row:
    """The values of PROJECT_TASK."""
    return (
        project,
        task.task_id,
        sequence,
        task.kind,
        task.service,
        task.model,
        short(task.state),
        task.progress,
        task.note,
        task.seconds_left,
        task.attempt,
        task.actor,
        correlation_id,
        task.error_class,
        task.error_message,
        task.parameters,
        task.result,
        task.created_at or at,
        task.started_at,
        task.ended_at,
        task.priority,
        list(task.tags),
        task.remark,
        list(task.waits_for),
        task.parent,
    )


def kept_task_row(kept: dict[str, Any]) -> Row:
    """The values of PROJECT_TASK from a row of the timeline."""
    task = TaskChanged.model_validate(kept["data"])
    return task_row(task, kept["sequence"], kept["project"], kept["correlation_id"], kept["at"])


def task_view(listed: dict[str, Any], data: dict[str, Any] | None, edge: dict[str, Any] | None) -> TaskView:
    """A task as its event or its row at the edge tells it; what never changes is as it is listed."""
    if data is None:
        assert edge is not None
        return TaskView.model_validate(edge)
    task = TaskChanged.model_validate(data)
    lasting = {name: listed[name] for name in ("project", "id", "correlation_id", "created_at")}
    told = task.model_dump(exclude={"task_id", "service", "state", "created_at"})
    return TaskView.model_validate(told | lasting | {"state": short(task.state)})
