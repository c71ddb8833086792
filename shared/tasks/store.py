"""All SQL of tasks. Leases are measured by the database's clock; every write of a running task names its fence."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from shared.context import Context, HasOrigin
from shared.db import Connection
from shared.errors import LeaseLost, NotFound
from shared.events.common import TaskState
from shared.events.tasks import TaskChanged
from shared.names import new_id
from shared.rpc.tasks import TaskFailure, TaskView, owner_of
from shared.tasks.state import is_final, move, short
from shared.tasks.terms import Cause, Terms, needs
from shared.worker import Progress


@dataclass(frozen=True)
class Task(HasOrigin):
    """A row of the table tasks."""

    id: str
    project: str
    kind: str
    model: str
    state: TaskState
    spec: dict[str, Any]
    context: dict[str, str]
    progress: float
    note: str
    seconds_left: float | None
    fence: int
    lost: int
    cancel_requested: bool
    pause_requested: bool
    priority: int
    terms: Terms
    waits_for: list[str]
    parent: str
    tags: list[str]
    remark: str
    retried: dict[str, int]
    error_class: str
    error_message: str
    failure: dict[str, Any] | None
    result: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    def changed(self) -> TaskChanged:
        return TaskChanged(
            task_id=self.id,
            kind=self.kind,
            service=owner_of(self.id),
            model=self.model,
            state=self.state,
            progress=self.progress,
            note=self.note,
            seconds_left=self.seconds_left,
            attempt=self.fence,
            actor=self.origin.actor,
            error_class=self.error_class,
            error_message=self.error_message,
            parameters=self.spec.get("parameters", {}),
            result=self.result,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            priority=self.priority,
            tags=tuple(self.tags),
            remark=self.remark,
            waits_for=tuple(self.waits_for),
            parent=self.parent,
        )

    def view(self) -> TaskView:
        return TaskView(
            id=self.id,
            project=self.project,
            kind=self.kind,
            model=self.model,
            state=short(self.state),
            progress=self.progress,
            note=self.note,
            seconds_left=self.seconds_left,
            attempt=self.fence,
            actor=self.origin.actor,
            correlation_id=self.origin.correlation_id,
            parameters=self.spec.get("parameters", {}),
            result=self.result,
            error_class=self.error_class,
            error_message=self.error_message,
            failure=TaskFailure(**self.failure) if self.failure and self.state is TaskState.FAILED else None,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            priority=self.priority,
            tags=self.tags,
            remark=self.remark,
            waits_for=self.waits_for,
            parent=self.parent,
            place=self.terms.place,
            resources=needs(self.kind, self.terms),
            limits=self.terms.limits,
            retries=self.terms.retries,
            estimated_end=self._estimated_end(),
        )

    def _estimated_end(self) -> datetime | None:
        if self.state is not TaskState.RUNNING or self.seconds_left is None:
            return None
        return datetime.now(UTC) + timedelta(seconds=self.seconds_left)


COLUMNS = """id, project, kind, model, state, spec, context, progress, note, seconds_left, fence, lost,
cancel_requested, pause_requested, priority, terms, waits_for, parent, tags, remark, retried,
error_class, error_message, failure, result, created_at, started_at, ended_at"""

# Accept a task.
INSERT = f"""
INSERT INTO tasks (id, project, kind, model, spec, context, priority, terms, waits_for, tags, remark, parent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING {COLUMNS}
"""
# One task of a project.
FIND = f"SELECT {COLUMNS} FROM tasks WHERE project = $1 AND id = $2"
# One task of a project, to be changed.
FIND_FOR_UPDATE = FIND + " FOR UPDATE"
# Prolong a lease that is still ours, and note how far the task is.
RENEW = f"""
UPDATE tasks SET lease_until = clock_timestamp() + make_interval(secs => $3),
    progress = $4, note = $5, seconds_left = $6
WHERE id = $1 AND fence = $2 AND state = 'TASK_STATE_RUNNING' RETURNING {COLUMNS}
"""
# Lock a task that we still hold.
HOLD = f"SELECT {COLUMNS} FROM tasks WHERE id = $1 AND fence = $2 AND state = 'TASK_STATE_RUNNING' FOR UPDATE"
# Change a task's state.
SET_STATE = f"""
UPDATE tasks SET state = $2, error_class = $3, error_message = $4, result = $5, seconds_left = NULL,
    lease_owner = NULL, lease_until = NULL, pause_requested = false, note = $6,
    progress = CASE WHEN $2 = 'TASK_STATE_SUCCEEDED' THEN 1 ELSE progress END,
    ended_at = CASE WHEN $7 THEN now() END
WHERE id = $1 RETURNING {COLUMNS}
"""
# Let a task run that no worker holds, since another program does it.
BEGIN_UNHELD = f"""
UPDATE tasks SET state = 'TASK_STATE_RUNNING', started_at = now(), note = $2 WHERE id = $1 RETURNING {COLUMNS}
"""
# Let a task rest for some seconds, and keep how often it was tried again and why.
REST = f"""
UPDATE tasks SET run_after = now() + make_interval(secs => $2), lost = $3, retried = $4
WHERE id = $1 RETURNING {COLUMNS}
"""
# Keep how an attempt ended badly.
KEEP_FAILURE = f"UPDATE tasks SET failure = $2 WHERE id = $1 RETURNING {COLUMNS}"
# Ask the living holder of a task to stop; no row comes back when its lease has ended.
REQUEST_CANCEL = f"""
UPDATE tasks SET cancel_requested = true WHERE id = $1 AND lease_until >= now() RETURNING {COLUMNS}
"""
# Ask the living holder of a task to pause; no row comes back when its lease has ended.
REQUEST_PAUSE = f"""
UPDATE tasks SET pause_requested = true WHERE id = $1 AND lease_until >= now() RETURNING {COLUMNS}
"""
# Let a paused task wait for its turn again.
RESUME = f"UPDATE tasks SET run_after = now(), lost = 0, retried = '{{}}' WHERE id = $1 RETURNING {COLUMNS}"
# Note what people say of a task.
NOTE = f"UPDATE tasks SET priority = $2, tags = $3, remark = $4 WHERE id = $1 RETURNING {COLUMNS}"
# Add to the spec what was settled while the task ran.
SETTLE = f"UPDATE tasks SET spec = spec || $2 WHERE id = $1 RETURNING {COLUMNS}"
# Name a file as the task's; a newer holder's file replaces an older one's.
SAVE_FILE = """
INSERT INTO task_files (task_id, fence, role, step, digest) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (task_id, role, step) DO UPDATE SET fence = excluded.fence, digest = excluded.digest, saved_at = now()
RETURNING xmax = 0
"""
# A task that gets ahead may lose as many attempts again.
FORGIVE_LOST = "UPDATE tasks SET lost = 0 WHERE id = $1"
# The last file of a role.
LATEST_FILE = "SELECT step, digest FROM task_files WHERE task_id = $1 AND role = $2 ORDER BY step DESC LIMIT 1"
# Forget the files of a role before this step.
DROP_FILES = "DELETE FROM task_files WHERE task_id = $1 AND role = $2 AND step < $3 RETURNING digest"
# Those of some digests that no task names.
UNNAMED = """
SELECT digest FROM unnest($1::text[]) AS given (digest)
WHERE NOT EXISTS (SELECT FROM task_files WHERE task_files.digest = given.digest)
"""
# Keep one scalar of an epoch; an epoch that is run again replaces it.
SAVE_METRIC = """
INSERT INTO task_metrics (task_id, epoch, name, value) VALUES ($1, $2, $3, $4)
ON CONFLICT (task_id, epoch, name) DO UPDATE SET value = excluded.value, at = now()
"""
# The scalars of a task: of long series every second, third... epoch and the last.
METRICS = """
SELECT json_build_object('points', coalesce(json_agg(points), '[]'))::text FROM (
    SELECT epoch, name, value, at FROM task_metrics,
        (SELECT max(epoch) AS last FROM task_metrics WHERE task_id = $1) AS series
    WHERE task_id = $1 AND (epoch = last OR epoch % (1 + last / 500) = 0)
    ORDER BY epoch, name LIMIT 10000
) AS points
"""


def read_task(row: asyncpg.Record) -> Task:
    return Task(**(dict(row) | {"state": TaskState(row["state"]), "terms": Terms.model_validate(row["terms"])}))


async def _changed(tx: Connection, query: str, *values: Any) -> Task:
    row = await tx.fetchrow(query, *values)
    assert row is not None
    return read_task(row)


def new_task_id(kind: str) -> str:
    return f"{kind}-{new_id()}"


async def insert(
    tx: Connection,
    kind: str,
    model: str,
    spec: dict[str, Any],
    context: Context,
    task_id: str = "",
    terms: Terms | None = None,
    parent: str = "",
) -> Task:
    """Accept a task; `spec["parameters"]` is what people see of it. The request's own limits end here."""
    headers = context.lasting().to_headers()
    terms = terms or Terms()
    kept = terms.model_dump(mode="json", include={"place", "resources", "limits", "retries"}, exclude_defaults=True)
    waits_for = list(dict.fromkeys(terms.after))
    said = (terms.priority, kept, waits_for, list(terms.tags), terms.remark, parent)
    return await _changed(tx, INSERT, task_id or new_task_id(kind), context.project, kind, model, spec, headers, *said)


async def begin_unheld(tx: Connection, task: Task, note: str) -> Task:
    """Let a task run that another program does: under no lease, so that no worker claims it."""
    move(task.state, TaskState.RUNNING)
    return await _changed(tx, BEGIN_UNHELD, task.id, note)


async def find(tx: Connection, project: str, task_id: str, *, lock: bool = False) -> Task:
    """One task; raises NotFound."""
    row = await tx.fetchrow(FIND_FOR_UPDATE if lock else FIND, project, task_id)
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    return read_task(row)


async def renew(tx: Connection, task: Task, lease_seconds: float, progress: Progress) -> Task:
    """Prolong the lease; raises LeaseLost."""
    told = (progress.fraction, progress.message, progress.seconds_left)
    row = await tx.fetchrow(RENEW, task.id, task.fence, lease_seconds, *told)
    if row is None:
        raise LeaseLost()
    return read_task(row)


async def hold(tx: Connection, task: Task) -> Task:
    """The task's row, locked; raises LeaseLost when another worker holds it or it has ended."""
    row = await tx.fetchrow(HOLD, task.id, task.fence)
    if row is None:
        raise LeaseLost()
    return read_task(row)


async def set_state(
    tx: Connection,
    task: Task,
    to: TaskState,
    *,
    error: tuple[str, str] = ("", ""),
    result: dict[str, Any] | None = None,
    note: str = "",
) -> Task:
    """Move a locked task; raises Conflict where the state machine knows no such move."""
    move(task.state, to)
    facts = (*error, task.result if result is None else result, note, is_final(to))
    return await _changed(tx, SET_STATE, task.id, to.value, *facts)


async def release(tx: Connection, task: Task, note: str, rest_seconds: float, cause: Cause | None = None) -> Task:
    """Give a locked task back, to be claimed again after a rest; the cause of a bad end is counted."""
    await set_state(tx, task, TaskState.QUEUED, note=note)
    lost = task.lost + (cause is Cause.LOST)
    retried = task.retried if cause in (None, Cause.LOST) else task.retried | {cause: task.retried.get(cause, 0) + 1}
    return await _changed(tx, REST, task.id, rest_seconds, lost, retried)


async def keep_failure(tx: Connection, task: Task, failure: TaskFailure) -> Task:
    return await _changed(tx, KEEP_FAILURE, task.id, failure.model_dump())


async def request_cancel(tx: Connection, task: Task) -> Task:
    """Ask for the end of a locked task; one that nobody runs ends at once."""
    if task.state is TaskState.CANCELLED:
        return task
    if task.state is TaskState.RUNNING and (row := await tx.fetchrow(REQUEST_CANCEL, task.id)):
        return read_task(row)
    return await set_state(tx, task, TaskState.CANCELLED, note="cancelled while nobody ran it")


async def request_pause(tx: Connection, task: Task) -> Task:
    """Ask a locked task to pause; one that nobody runs pauses at once."""
    if task.state is TaskState.PAUSED:
        return task
    if task.state is TaskState.RUNNING and (row := await tx.fetchrow(REQUEST_PAUSE, task.id)):
        return read_task(row)
    return await set_state(tx, task, TaskState.PAUSED, note="paused while nobody ran it")


async def resume(tx: Connection, task: Task) -> Task:
    """Let a locked task that is paused go on; raises Conflict when it is not."""
    await set_state(tx, task, TaskState.QUEUED, note="goes on")
    return await _changed(tx, RESUME, task.id)


async def note(tx: Connection, task: Task) -> Task:
    """Keep the priority, the tags and the remark of a locked task."""
    return await _changed(tx, NOTE, task.id, task.priority, task.tags, task.remark)


async def settle(tx: Connection, task: Task, facts: dict[str, Any]) -> Task:
    """Add facts to the spec, so that a later attempt goes on from the same ones."""
    return await _changed(tx, SETTLE, task.id, facts)


async def save_file(tx: Connection, task: Task, role: str, step: int, digest: str) -> bool:
    """Name a file as the task's; returns whether there was none of this role and step."""
    is_new: bool = await tx.fetchval(SAVE_FILE, task.id, task.fence, role, step, digest)
    await tx.execute(FORGIVE_LOST, task.id)
    return is_new


async def latest_file(tx: Connection, task: Task, role: str) -> tuple[int, str] | None:
    """Step and digest of the last file of a role."""
    row = await tx.fetchrow(LATEST_FILE, task.id, role)
    return None if row is None else (row["step"], row["digest"])


async def drop_files(tx: Connection, task: Task, role: str, before: int) -> list[str]:
    """Forget older files; returns the digests that no task names now."""
    digests = [row["digest"] for row in await tx.fetch(DROP_FILES, task.id, role, before)]
    return [row["digest"] for row in await tx.fetch(UNNAMED, digests)]


async def save_metrics(tx: Connection, task: Task, epoch: int, values: dict[str, float]) -> None:
    await tx.executemany(SAVE_METRIC, [(task.id, epoch, name, value) for name, value in values.items()])


async def metrics(tx: Connection, task: Task) -> str:
    """A MetricPoints as JSON."""
    written: str = await tx.fetchval(METRICS, task.id)
    return written
