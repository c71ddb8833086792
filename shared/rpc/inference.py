"""Requests that inference answers."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from shared.events.common import Signature
from shared.names import DEFAULT_PROJECT, Digest, Slug
from shared.rpc.base import Reply, Request
from shared.rpc.trainer import TaskAccepted

TableFormat = Literal["csv", "jsonl", "npz", "parquet"]


class DeploymentView(Reply):
    """A deployment: the state that is wanted of a version and what Triton says of it."""

    model: str
    version: int
    digest: str
    state: str
    ready: bool = False
    triton_name: str = ""
    epoch: int = 0
    note: str = ""
    updated_at: datetime | None = None


class DeploymentList(Reply):
    """Deployments of a project."""

    deployments: list[DeploymentView] = []


class ServedModel(Reply):
    """What the data plane serves under a model's name now; versions are those that are ready."""

    model: str
    ready: bool
    version: int | None = None
    versions: list[int] = []
    signature: Signature = Signature()


class InferenceStatistics(Reply):
    """What the Triton of one node counted since it loaded each version; documents of Triton under our names."""

    model_stats: list[dict[str, Any]] = []


class ModelConfiguration(Reply):
    """How a version is configured; the document of Triton under our names."""

    config: dict[str, Any] = {}


class ListDeployments(Request[DeploymentList]):
    """Show the deployments of the project."""

    model: Slug | None = None


class GetServedModel(Request[ServedModel]):
    """Say from memory what is served; works with the database down."""

    project: Slug = DEFAULT_PROJECT
    model: Slug
    version: int | None = None


class GetInferenceStatistics(Request[InferenceStatistics]):
    """Ask Triton for its counts: of one version, of all of a model that are ready, or of all of the project."""

    project: Slug = DEFAULT_PROJECT
    model: Slug | None = None
    version: int | None = None


class GetModelConfiguration(Request[ModelConfiguration]):
    """Ask Triton for a version's configuration; without a number, that of the version that answers."""

    project: Slug = DEFAULT_PROJECT
    model: Slug
    version: int | None = None


class SubmitBatch(Request[TaskAccepted]):
    """Accept a batch: the rows of a file that is kept as an artifact, or of a part of a data set, through a version.

    Without a number and an alias the version that serves is meant; without a format the file's content tells it,
    without an output the result has the format of the file.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    version: int | None = None
    alias: Slug | None = None
    digest: Digest | None = None
    dataset: Slug | None = None
    part: Slug = "test"
    format: TableFormat | None = None
    output: TableFormat | None = None


class BatchResult(Reply):
    """The result of a batch, kept as an artifact."""

    digest: Digest
    size: int
    rows: int
    file_name: str
    media_type: str


class GetBatchResult(Request[BatchResult]):
    """Say where the result of a batch is."""

    task_id: str
