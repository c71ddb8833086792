"""Requests that trainer answers."""

from typing import Any, ClassVar

from shared.names import Slug
from shared.rpc.base import Reply, Request


class TaskAccepted(Reply):
    """A task was accepted."""

    id: str
    state: str = "queued"
    correlation_id: str = ""


class LibraryMember(Reply):
    """A member of the model library, with the JSON schema of its config."""

    name: str
    task_type: str
    dataset: str
    config_schema: dict[str, Any]
    gate: list[dict[str, Any]] = []
    labels: list[str] = []
    card: dict[str, Any] = {}
    example: dict[str, Any] = {}


class Library(Reply):
    """The model library."""

    members: list[LibraryMember] = []


class SubmitTask(Request[TaskAccepted]):
    """Accept a training task; the config is checked against the member's."""

    idempotent: ClassVar[bool] = True
    model: Slug
    config: dict[str, Any] = {}
    auto_promote: bool = True


class ListLibrary(Request[Library]):
    """Show the members of the model library."""
