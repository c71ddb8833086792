"""Requests that trainer answers."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.names import Digest, Slug
from shared.optimisation import Optimisation
from shared.rpc.base import Done, Reply, Request
from shared.tables import TableFormat
from shared.tasks.terms import Place, Resources, Terms
from shared.tuning import Budget, Objective, Pruner, Range, Sampler


class TaskAccepted(Reply):
    """A task was accepted."""

    id: str
    state: str = "queued"
    correlation_id: str = ""


class LibraryMember(Reply):
    """A member of the model library: the JSON schema of its config, the columns that it reads, and whether its training
    takes many minutes.
    """

    name: str
    task_type: str
    dataset: str
    config_schema: dict[str, Any]
    gate: list[dict[str, Any]] = []
    baseline: dict[str, Any] | None = None
    labels: list[str] = []
    features: list[dict[str, Any]] = []
    card: dict[str, Any] = {}
    example: dict[str, Any] = {}
    long: bool = False


class Library(Reply):
    """The model library; problems say which members of other wheels were left out, and why."""

    members: list[LibraryMember] = []
    problems: list[str] = []


class SubmitTask(Request[TaskAccepted]):
    """Accept a training task; the config is checked against the member's, and `training` says how it runs.

    It learns from the member's data set, or from another one of the project that has the same schema and labels.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    auto_promote: bool = True
    dataset: Slug | None = None
    terms: Terms = Terms()


class CloneTask(Request[TaskAccepted]):
    """Accept a training like an earlier one of the project, with another config and terms where they are given."""

    idempotent: ClassVar[bool] = True
    task_id: str
    config: dict[str, Any] = {}
    auto_promote: bool | None = None
    terms: Terms = Terms()


class SubmitStudy(Request[TaskAccepted]):
    """Accept a study: a task that has others train a member with parameters from ranges, and makes the best a version.

    The study has the terms' priority, tags and remark and waits for what is in `after`; resources, limits and retries
    are those of each of its trainings. Without objectives the member's gate says what is wanted.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    space: dict[str, Range] = {}
    sampler: Sampler = Sampler.TPE
    objectives: tuple[Objective, ...] = Field(default=(), max_length=5)
    pruner: Pruner = Pruner.NONE
    budget: Budget = Budget()
    parallel: int = Field(default=1, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=2**53)
    auto_promote: bool = True
    dataset: Slug | None = None
    terms: Terms = Terms()


class TrialView(Reply):
    """A trial of a study: what it was given, and a value for each objective once it has ended well."""

    number: int
    task_id: str
    state: Literal["queued", "running", "paused", "succeeded", "pruned", "failed", "cancelled"]
    parameters: dict[str, Any] = {}
    values: list[float] = []
    epochs: int = 0
    is_best: bool = False
    error_message: str = ""


class Axis(Reply):
    """A parameter of a plot, or an objective: its ends, or its choices."""

    name: str
    log: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: list[Any] = []


class Parallel(Reply):
    """Parallel coordinates: a line a trial, with a value for each axis; the last axis is the first objective."""

    axes: list[Axis] = []
    lines: list[list[Any]] = []


class Contour(Reply):
    """How the first objective lies over two parameters: points [x, y, value], and means over a grid of both ranges.

    `grid[row][column]` is of the row's part of y and the column's part of x, from the lower ends; null where no trial
    was.
    """

    x: Axis
    y: Axis
    points: list[list[Any]] = []
    grid: list[list[float | None]] = []


class StudyView(Reply):
    """A study as far as it is: its trials, the best of them, and what its parameters did.

    With several objectives `best` are the trials of the Pareto front. `importances` are of the first objective, by
    `importance_method`, and there are none before a few trials have ended.
    """

    task_id: str
    model: str
    state: str
    objectives: list[Objective] = []
    trials: list[TrialView] = []
    best: list[int] = []
    winner: int | None = None
    importances: dict[str, float] = {}
    importance_method: str = "PED-ANOVA"
    parallel: Parallel = Parallel()
    contours: list[Contour] = []


class GetStudy(Request[StudyView]):
    """Show a study and its trials."""

    task_id: str


class Trigger(BaseModel):
    """An event that a schedule answers, and what its fields must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    event: Literal[
        "dataset_registered", "version_registered", "evaluation_completed", "version_promoted", "traffic_switched"
    ]
    where: dict[str, Any] = {}


class ScheduleView(Reply):
    """A schedule: what it begins and when, its next turn and what became of the last one."""

    project: str
    name: str
    cron: str | None = None
    on: Trigger | None = None
    task: SubmitTask
    enabled: bool
    overlap: bool
    actor: str
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_task: str = ""
    last_error: str = ""
    created_at: datetime


class ScheduleList(Reply):
    """The schedules of a project, by name."""

    schedules: list[ScheduleView] = []


class PutSchedule(Request[ScheduleView]):
    """Keep a schedule by the clock or by an event; `overlap` allows a turn while the task of the last one goes on."""

    name: Slug
    cron: str | None = Field(default=None, max_length=200)
    on: Trigger | None = None
    task: SubmitTask
    enabled: bool = True
    overlap: bool = False


class GetSchedule(Request[ScheduleView]):
    """Show one schedule."""

    name: Slug


class ListSchedules(Request[ScheduleList]):
    """Show the schedules of the project."""


class DeleteSchedule(Request[Done]):
    """Forget a schedule; what it began goes on."""

    name: Slug


class Wish(Reply):
    """A task that could run now, and what it takes."""

    task_id: str
    project: str
    priority: int = 0
    created_at: datetime
    needs: Resources
    place: Place = Place.LOCAL


class Admission(Reply):
    """The tasks that may run now, and those that no such node can ever run."""

    admitted: list[str] = []
    too_large: list[str] = []


class AskAdmission(Request[Admission]):
    """Say what a runner of tasks holds and would run; what it does not name any more is free again."""

    owner: str
    node: str
    capacity: Resources
    lease_seconds: float
    held: list[Wish] = []
    waiting: list[Wish] = []


class Taken(Reply):
    """A task that the desk knows of, and what it takes."""

    task_id: str
    project: str
    needs: Resources


class NodeQueue(Reply):
    """What a node has, what runs there, and what waits for it, in the order in which it would begin now."""

    capacity: Resources
    running: list[Taken] = []
    waiting: list[Taken] = []


class Queues(Reply):
    """The queues of all nodes that were heard of lately."""

    nodes: list[NodeQueue] = []


class GetQueues(Request[Queues]):
    """Show what runs and what waits, in the order of the desk."""


class SubmitDataset(Request[TaskAccepted]):
    """Accept a task that makes a data set of a file of rows, kept as an artifact, that is like one of the library's."""

    idempotent: ClassVar[bool] = True
    name: Slug
    like: Slug
    digest: Digest
    format: TableFormat | None = None


class SubmitOptimisation(Request[TaskAccepted]):
    """Accept a task that makes another version of a version of a model: smaller, or faster.

    It is evaluated like any other; it is promoted by itself only where that was asked for and its gate passes.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    version: int
    how: Optimisation
    auto_promote: bool = False


class ReproduceTask(Request[TaskAccepted]):
    """Accept the training of a task once more, on the same data; when it ends, both results are compared."""

    idempotent: ClassVar[bool] = True
    task_id: str


class Confusion(Reply):
    """How often one label was answered where another was expected."""

    expected: str
    answered: str
    count: int


class WorstAnswer(Reply):
    """An item of the validation part, by its place in it, whose answer was far from what was expected."""

    index: int
    loss: float
    expected: str
    answered: str
    confidence: float


class TaskInsights(Reply):
    """A look at the answers to the validation part after an epoch; `epochs` are all that were looked at.

    `confusion` has a row for each label that was expected and a column for each that was answered; where there are
    over a hundred labels only `most_confused` is told.
    """

    epochs: list[int] = []
    epoch: int | None = None
    items: int = 0
    labels: list[str] = []
    confusion: list[list[int]] = []
    most_confused: list[Confusion] = []
    worst: list[WorstAnswer] = []


class GetInsights(Request[TaskInsights]):
    """Show what a training confuses, after one epoch or the last that was looked at."""

    task_id: str
    epoch: int | None = None


class TaskFile(Reply):
    """A file that is kept with a task, as an artifact."""

    digest: Digest
    size: int
    file_name: str
    media_type: str


class GetProfile(Request[TaskFile]):
    """Say where the profile of a training is."""

    task_id: str


class ListLibrary(Request[Library]):
    """Show the members of the model library."""
