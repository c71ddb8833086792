"""Requests that trainer answers."""

from typing import Any, ClassVar

from shared.names import Digest, Slug
from shared.optimisation import Optimisation
from shared.rpc.base import Reply, Request
from shared.tables import TableFormat


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
