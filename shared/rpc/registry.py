"""Requests that registry answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.as_of import AsOf
from shared.events.common import GateCondition, Signature
from shared.names import Digest, Slug
from shared.rpc.base import Done, Reply, Request

NO_NUL = r"^[^\x00]*$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_NUL)]
Source = Literal["training", "upload", "import", "optimisation"]
Tags = Annotated[list[Slug], Field(max_length=50)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=NO_NUL)]


class ModelView(Reply):
    """A model: its versions' count, where its aliases point, and its tags."""

    name: str
    project: str
    task_type: str = ""
    versions: int = 0
    aliases: dict[str, int] = {}
    tags: list[str] = []
    archived: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ModelList(Reply):
    """Models of a project, by name."""

    models: list[ModelView] = []


class VersionView(Reply):
    """A version: an artifact with its lineage, card and evaluation; `derived_from` is the one that it was made of."""

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
    source: str = "training"
    derived_from: int | None = None
    actor: str = ""
    archived: bool = False
    created_at: datetime | None = None


class VersionList(Reply):
    """Versions of a model, newest first."""

    versions: list[VersionView] = []


class DatasetView(Reply):
    """A data set: its digest and the digests of its parts (train, validation, test).

    Its facts: schema, labels, sizes, source, licence; the profile has figures of each column, the preview some items.
    """

    name: str
    digest: str
    parts: dict[str, str]
    facts: dict[str, Any] = {}
    created_at: datetime | None = None


class DatasetList(Reply):
    """Data sets, newest first, without their profiles and previews."""

    datasets: list[DatasetView] = []


class ListModels(Request[ModelList]):
    """Show the models of the project that `q` occurs in: in their name, or in label or card of a version."""

    q: Text = ""
    task_type: Text = ""
    tag: Slug | None = None
    archived: bool = False
    as_of: AsOf = None


class GetModel(Request[ModelView]):
    """Show one model."""

    model: Slug
    as_of: AsOf = None


class ListVersions(Request[VersionList]):
    """Show the versions of a model, newest first; `before` a number goes on from there."""

    model: Slug
    before: int | None = None
    limit: int = Field(default=100, ge=1, le=200)
    q: Text = ""
    dataset: Text = ""
    source: Source | None = None
    archived: bool = False


class GetVersion(Request[VersionView]):
    """Show one version of a model."""

    model: Slug
    version: int


class SetAlias(Request[VersionView]):
    """Point an alias at a version; `expected` is the version that it points at now, where that matters.

    With `force` no passed evaluation is needed; the reason is told to everyone.
    """

    model: Slug
    alias: Slug
    version: int
    expected: int | None = None
    force: bool = False
    reason: Text = ""


class Promotion(Reply):
    """What became of a promotion: nothing refused it, or why it was; stale means that it is compared anew."""

    refused: str = ""
    stale: bool = False


class PromoteVersion(Request[Promotion]):
    """Make a version champion by an evaluation that it passed, beside the champion of now; twice is as once."""

    model: Slug
    version: int
    evaluation_id: str


class RegisterUpload(Request[VersionView]):
    """Check an ONNX file that is kept as an artifact, and make it the next version of a model.

    It is evaluated on this data set; without one on that of the model's versions whose tensors it has.
    """

    idempotent: ClassVar[bool] = True
    model: Slug
    digest: Digest
    dataset: Slug | None = None
    task_type: Slug | None = None
    labels: list[Label] = Field(default=[], max_length=1000)
    card: dict[str, Text] = {}
    auto_promote: bool = False


class RegisterImport(Request[VersionView]):
    """Check a version exported as one file, kept as an artifact, and make it the next version of a model."""

    idempotent: ClassVar[bool] = True
    model: Slug
    digest: Digest
    auto_promote: bool = False


class ExportedVersion(Reply):
    """A version as one file, kept as an artifact."""

    digest: Digest
    size: int
    file_name: str


class ExportVersion(Request[ExportedVersion]):
    """Make one file of a version: its model, lineage, card, signature and metrics."""

    model: Slug
    version: int


class ArchiveModel(Request[ModelView]):
    """Hide a model from lists and from promotion, or show it again."""

    model: Slug
    archived: bool


class SetTags(Request[ModelView]):
    """Let a model have these tags and no others; gateways know of it within a second."""

    awaits_publication: ClassVar[bool] = True
    model: Slug
    tags: Tags


class ArchiveVersion(Request[VersionView]):
    """Hide a version from lists and from promotion, or show it again; never the champion."""

    model: Slug
    version: int
    archived: bool


class DeleteVersion(Request[Done]):
    """Delete a version for ever; never one that is the champion or serves."""

    model: Slug
    version: int


class Difference(Reply):
    """A value in two versions; None where a version has none."""

    left: Any = None
    right: Any = None


class Comparison(Reply):
    """Two versions: parameters that differ, and all metrics side by side.

    `evaluation` holds those of the newest evaluations, if both were made on one data set.
    """

    left: VersionView
    right: VersionView
    parameters: dict[str, Difference] = {}
    metrics: dict[str, Difference] = {}
    evaluation: dict[str, Difference] = {}


class CompareVersions(Request[Comparison]):
    """Compare two versions of a model."""

    model: Slug
    left: int
    right: int


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


class ListDatasets(Request[DatasetList]):
    """Show the data sets of the project, newest first; with a name, those of this name."""

    name: Slug | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class Garbage(Reply):
    """What was collected, or would be: artifacts, their bytes, and data sets by name and digest."""

    dry_run: bool
    named: int = 0
    artifacts: int = 0
    size: int = 0
    datasets: list[str] = []
    more: bool = False


class CollectGarbage(Request[Garbage]):
    """Delete artifacts that nobody names and data sets that nobody uses, if they are older than the time of grace."""

    dry_run: bool = True
    grace_seconds: float = Field(default=86_400, ge=0)
