"""Requests that registry answers."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.events.common import GateCondition, Signature
from shared.names import Digest, Slug
from shared.rpc.base import Reply, Request


class ModelView(Reply):
    """A model: its versions' count and where its aliases point."""

    name: str
    project: str
    task_type: str = ""
    versions: int = 0
    aliases: dict[str, int] = {}
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ModelList(Reply):
    """Models of a project, by name."""

    models: list[ModelView] = []


class VersionView(Reply):
    """A version: an artifact with its lineage, card and evaluation."""

    model: str
    version: int
    digest: str
    task_id: str = ""
    task_type: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    code_version: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    labels: list[str] = []
    signature: Signature = Signature()
    gate: list[GateCondition] = []
    card: dict[str, Any] = {}
    aliases: list[str] = []
    evaluation_id: str = ""
    evaluation_passed: bool | None = None
    created_at: datetime | None = None


class VersionList(Reply):
    """Versions of a model, newest first."""

    versions: list[VersionView] = []


class DatasetView(Reply):
    """A data set: its digest and the digests of its parts (train, validation, test)."""

    name: str
    digest: str
    parts: dict[str, str]
    facts: dict[str, Any] = {}
    created_at: datetime | None = None


class ListModels(Request[ModelList]):
    """Show the models of the project."""


class GetModel(Request[ModelView]):
    """Show one model."""

    model: Slug


class ListVersions(Request[VersionList]):
    """Show the versions of a model, newest first; `before` a number goes on from there."""

    model: Slug
    before: int | None = None
    limit: int = Field(default=100, ge=1, le=200)


class GetVersion(Request[VersionView]):
    """Show one version of a model."""

    model: Slug
    version: int


class SetAlias(Request[VersionView]):
    """Point an alias at a version; `expected` is the version that it points at now, where that matters."""

    model: Slug
    alias: Slug
    version: int
    expected: int | None = None


class RegisterDataset(Request[DatasetView]):
    """Make known a data set whose parts are kept as artifacts; the same digest twice changes nothing."""

    name: Slug
    digest: Digest
    parts: dict[str, Digest]
    facts: dict[str, Any] = {}


class GetDataset(Request[DatasetView]):
    """Show a data set: the newest, or the one with this digest."""

    name: Slug
    digest: Digest | None = None
