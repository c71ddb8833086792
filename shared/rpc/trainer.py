"""Requests that trainer answers."""

from datetime import datetime
from typing import Any, ClassVar

from shared.names import Digest, Slug
from shared.optimisation import Optimisation
from shared.rpc.base import Reply, Request
from shared.tables import TableFormat
from shared.tasks.terms import Resources, Terms


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
    """Accept a training task; the config is checked against the member's.

    It learns from the member's data set, or from another one of the project that has the same schema and labels.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    config: dict[str, Any] = {}
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


class Wish(Reply):
    """A task that could run now, and what it takes."""

    task_id: str
    project: str
    priority: int = 0
    created_at: datetime
    needs: Resources


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


class ListLibrary(Request[Library]):
    """Show the members of the model library."""
