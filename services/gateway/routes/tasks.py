"""The library and tasks: lists come from monitor, one task from the service that owns it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import NAMES_MODEL, PREFIX, AsOfQuery, Routes
from shared.errors import DeadlineExceeded, NotFound, Unavailable
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.monitor import CURSOR_PATTERN, GetForecast, ListTasks, TaskList
from shared.rpc.tasks import (
    CancelTask,
    GetTask,
    GetTaskMetrics,
    MetricPoints,
    NoteTask,
    PauseTask,
    ResumeTask,
    TaskView,
    owner_of,
)
from shared.rpc.trainer import (
    CloneTask,
    GetStudy,
    Library,
    LibraryMember,
    ListLibrary,
    StudyView,
    SubmitStudy,
    SubmitTask,
    TaskAccepted,
)
from shared.tasks.terms import Remark, Tag, Terms
from shared.tasks.terms import TaskId as AnyTaskId
from shared.training import TrainingOptions
from shared.tuning import Budget, Objective, Pruner, Range, Sampler

ROUTES = Routes("tasks")
State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
TERMS = set(Terms.model_fields)
TASK_ID = r"^[a-z]{1,32}-[0-9a-f-]{36}$"
TaskId = Annotated[str, Path(pattern=TASK_ID, description="such as train-<uuid>")]
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{0,200}$")]


class NewTask(Terms):
    """A task to run: training of a member of the library with a config of its own, and on a data set of one's own.

    `training` says how it runs: checkpoints, early stopping, precision, device and more.
    """

    kind: Literal["train"]
    model: Slug
    config: dict[str, Any] = {}
    training: TrainingOptions = TrainingOptions()
    auto_promote: StrictBool = True
    dataset: Slug | None = None


class NewStudy(Terms):
    """A study to run: trainings of a member with parameters drawn from ranges, of which the best becomes a version.

    `config` fixes fields; `space` narrows the ranges of others, as the member's config schema has them; `training` says
    how each of them runs.
    """

    kind: Literal["tune"]
    model: Slug
    config: dict[str, Any] = {}
    training: TrainingOptions = TrainingOptions()
    space: dict[str, Range] = {}
    sampler: Sampler = Sampler.TPE
    objectives: Annotated[tuple[Objective, ...], Field(max_length=5)] = ()
    pruner: Pruner = Pruner.NONE
    budget: Budget = Budget()
    parallel: Annotated[int, Field(ge=1, le=64, description="trials at once")] = 1
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    auto_promote: bool = True
    dataset: Slug | None = None


class Clone(Terms):
    """What shall be different from the task that is cloned; fields of `config` that are not given stay."""

    config: dict[str, Any] = {}
    auto_promote: bool | None = None


class Notes(BaseModel):
    """What people note of a task, and how urgent it is; what is not given stays."""

    model_config = ConfigDict(extra="forbid")
    priority: Annotated[int | None, Field(ge=-100, le=100)] = None
    tags: Annotated[list[Tag] | None, Field(max_length=50)] = None
    remark: Remark | None = None


@ROUTES.add("GET", "/library", Permission.MODELS_READ)
async def show_library(caller: CallerOf) -> Library:
    """The members of the model library, with the JSON schemas of their configs."""
    return await caller.ask(ListLibrary())


@ROUTES.add("GET", "/library/{name}", Permission.MODELS_READ)
async def show_member(name: Slug, caller: CallerOf) -> LibraryMember:
    """One member of the model library."""
    members = (await caller.ask(ListLibrary())).members
    found = next((member for member in members if member.name == name), None)
    if found is None:
        raise NotFound(f"the library has no member '{name}'", field="name")
    return found


@ROUTES.add("POST", "/tasks", Permission.TASKS_WRITE, NAMES_MODEL, status_code=202)
async def submit_task(
    body: Annotated[NewTask | NewStudy, Field(discriminator="kind")],
    caller: CallerOf,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> TaskAccepted:
    """Accept a task; the same Idempotency-Key with the same body gives the same task, with another one 409."""
    order = order_of(body) if isinstance(body, NewTask) else _study_of(body)
    return _located(await caller.ask(order, idempotency_key=idempotency_key), response)


@ROUTES.add("GET", "/tasks", Permission.TASKS_READ)
async def list_tasks(
    caller: CallerOf,
    kind: Slug | None = None,
    state: State | None = None,
    model: ModelName | None = None,
    tag: Tag | None = None,
    parent: Annotated[AnyTaskId | None, Query(description="the task of which these are part")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(pattern=CURSOR_PATTERN, description="`next` of the answer before")] = "",
    as_of: AsOfQuery = None,
) -> TaskList:
    """Tasks of all services, newest first, as they are or as they were at a time; `next` of an answer is the cursor of
    those that follow."""
    filters: dict[str, Any] = {"kind": kind, "state": state, "model": model, "tag": tag, "parent": parent}
    return await caller.ask(ListTasks(**filters, limit=limit, cursor=cursor, as_of=as_of))


@ROUTES.add("GET", "/tasks/{task_id}", Permission.TASKS_READ)
async def show_task(task_id: TaskId, caller: CallerOf, as_of: AsOfQuery = None) -> TaskView:
    """One task as its owner knows it now, or as it was at a time; of one that waits also when it is expected to begin
    and to end."""
    if as_of is not None:
        return await _task_as_of(task_id, as_of, caller)
    task = await one_task(task_id, caller)
    return await _expected(task, caller) if task.state == "queued" else task


@ROUTES.add("GET", "/tasks/{task_id}/metrics", Permission.TASKS_READ, response_model=MetricPoints)
async def show_task_metrics(task_id: TaskId, caller: CallerOf) -> Response:
    """The scalars of a task by epoch."""
    return await caller.pass_on(GetTaskMetrics(task_id=task_id), service=owner_of(task_id))


@ROUTES.add("GET", "/tasks/{task_id}/study", Permission.TASKS_READ)
async def show_study(task_id: TaskId, caller: CallerOf) -> StudyView:
    """A study: its trials, the best of them, what its parameters did, and data of plots."""
    return await caller.ask(GetStudy(task_id=task_id))


@ROUTES.add("POST", "/tasks/{task_id}/cancel", Permission.TASKS_WRITE)
async def cancel_task(task_id: TaskId, caller: CallerOf) -> TaskView:
    """Stop a task; a running one ends within seconds."""
    return await caller.ask(CancelTask(task_id=task_id), service=owner_of(task_id))


@ROUTES.add("POST", "/tasks/{task_id}/pause", Permission.TASKS_WRITE)
async def pause_task(task_id: TaskId, caller: CallerOf) -> TaskView:
    """Let a task rest; a running one stops within seconds and goes on later from what it has reached."""
    return await caller.ask(PauseTask(task_id=task_id), service=owner_of(task_id))


@ROUTES.add("POST", "/tasks/{task_id}/resume", Permission.TASKS_WRITE)
async def resume_task(task_id: TaskId, caller: CallerOf) -> TaskView:
    """Let a paused task go on when its turn comes."""
    return await caller.ask(ResumeTask(task_id=task_id), service=owner_of(task_id))


@ROUTES.add("POST", "/tasks/{task_id}/clone", Permission.TASKS_WRITE, status_code=202)
async def clone_task(
    task_id: TaskId, body: Clone, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> TaskAccepted:
    """Accept a training like an earlier one, on the same data set and with these changes."""
    order = CloneTask(task_id=task_id, **body.model_dump(exclude=TERMS), terms=_terms(body))
    return _located(await caller.ask(order, idempotency_key=idempotency_key), response)


@ROUTES.add("PATCH", "/tasks/{task_id}", Permission.TASKS_WRITE)
async def note_task(task_id: TaskId, body: Notes, caller: CallerOf) -> TaskView:
    """Change the priority, the tags or the remark of a task."""
    return await caller.ask(NoteTask(task_id=task_id, **body.model_dump()), service=owner_of(task_id))


def order_of(body: NewTask) -> SubmitTask:
    given = body.model_dump(exclude={"kind", "training", *TERMS})
    return SubmitTask(**given, training=body.training.told(), terms=_terms(body))


def _study_of(body: NewStudy) -> SubmitStudy:
    given = body.model_dump(exclude={"kind", "training", *TERMS})
    return SubmitStudy(**given, training=body.training.told(), terms=_terms(body))


def _terms(body: Terms) -> Terms:
    return Terms(**body.model_dump(include=TERMS))


def _located(accepted: TaskAccepted, response: Response) -> TaskAccepted:
    response.headers["Location"] = f"{PREFIX}/tasks/{accepted.id}"
    return accepted


async def _task_as_of(task_id: str, as_of: datetime, caller: Caller) -> TaskView:
    found = (await caller.ask(ListTasks(task_id=task_id, as_of=as_of))).tasks
    if not found:
        raise NotFound(f"there was no task {task_id!r} then")
    return found[0]


async def _expected(task: TaskView, caller: Caller) -> TaskView:
    """With the estimates of monitor; without them where it does not answer now."""
    try:
        found = await caller.ask(GetForecast(task_id=task.id))
    except (Unavailable, DeadlineExceeded):
        return task
    return task.model_copy(update=found.model_dump())


async def one_task(task_id: str, caller: Caller) -> TaskView:
    """A task as its owner knows it; raises NotFound."""
    return await caller.ask(GetTask(task_id=task_id), service=owner_of(task_id))
