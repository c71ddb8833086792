"""Requests that inference answers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.as_of import AsOf
from shared.errors import Conflict
from shared.events.common import Signature
from shared.names import DEFAULT_PROJECT, Digest, ModelName, Slug
from shared.rpc.base import Done, Reply, Request
from shared.rpc.trainer import TaskAccepted
from shared.tables import TableFormat

InferenceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
InferenceState = Literal["queued", "running", "done", "failed", "cancelled"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Attributes = dict[str, str | int | Number | bool | None]
SearchMode = Literal["hybrid", "text", "vector"]
WebhookUrl = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


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
    as_of: AsOf = None


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


class DeliveryView(Reply):
    """The way of an answer to its webhook: waiting, delivered or abandoned, or nothing before there is an answer."""

    webhook: str
    state: str = ""
    attempts: int = 0
    problem: str = ""
    next_at: datetime | None = None


class InferenceView(Reply):
    """A request that was accepted to be answered later; `status` is that of its answer, as HTTP has it."""

    id: str
    model: str
    version: int | None = None
    state: str
    note: str = ""
    attempts: int = 0
    status: int | None = None
    actor: str = ""
    correlation_id: str = ""
    delivery: DeliveryView | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class InferenceList(Reply):
    """Deferred requests of a project, newest first."""

    inferences: list[InferenceView] = []


class InferenceAnswer(Reply):
    """An answer as a caller who waits would have got it; its body lies in the object store under this name."""

    name: str
    status: int
    version: str = ""
    header_length: int | None = None
    retry_after: int | None = None


class DeferInference(Request[InferenceView]):
    """Accept a request whose body lies in the object store, and answer it later."""

    idempotent: ClassVar[bool] = True
    varying: ClassVar[frozenset[str]] = frozenset({"id"})
    id: InferenceId
    model: ModelName
    version: int | None = None
    digest: Digest
    size: int = Field(ge=0)
    header_length: int | None = None
    webhook: Slug | None = None


class GetInference(Request[InferenceView]):
    """Show a deferred request."""

    id: InferenceId


class ListInferences(Request[InferenceList]):
    """Show deferred requests of the project."""

    model: ModelName | None = None
    state: InferenceState | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class GetInferenceAnswer(Request[InferenceAnswer]):
    """Say where the answer of a request lies, once there is one."""

    id: InferenceId


class CancelInference(Request[InferenceView]):
    """Give up a request that has no answer yet."""

    id: InferenceId


class WebhookView(Reply):
    """Where answers may be posted to, without the secret."""

    name: str
    url: str
    created_by: str = ""
    created_at: datetime | None = None


class WebhookCreated(WebhookView):
    """A new webhook; the secret that signs what it gets is shown this once."""

    secret: str


class WebhookList(Reply):
    """Webhooks of a project by name."""

    webhooks: list[WebhookView] = []


class CreateWebhook(Request[WebhookCreated]):
    """Let answers be posted to a URL."""

    idempotent: ClassVar[bool] = True
    not_kept: ClassVar[frozenset[str]] = frozenset({"secret"})
    name: Slug
    url: WebhookUrl

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> WebhookCreated:
        """Raises Conflict: an answer without the secret would be of no use."""
        message = f"this Idempotency-Key made the webhook '{kept['name']}', whose secret was shown once: delete it"
        raise Conflict(f"{message}, and make another one with a new Idempotency-Key", field="Idempotency-Key")


class ListWebhooks(Request[WebhookList]):
    """Show the webhooks of the project."""


class DeleteWebhook(Request[Done]):
    """Post nothing to this webhook any more."""

    name: Slug


class SubmitBatch(Request[TaskAccepted]):
    """Accept a batch: the rows of a file that is kept as an artifact, or of a part of a data set, through a version.

    Without a number and an alias the version that serves is meant; without a format the file's content tells it,
    without an output the result has the format of the file. A pipeline's is a step of what was accepted before.
    """

    idempotent: ClassVar[bool] = True
    model: ModelName
    version: int | None = None
    alias: Slug | None = None
    digest: Digest | None = None
    dataset: Slug | None = None
    part: Slug = "test"
    format: TableFormat | None = None
    output: TableFormat | None = None
    pipeline_id: str = Field(default="", max_length=100)


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


class BuildIndex(Request[TaskAccepted]):
    """Accept the building of a search index from a file that is kept as an artifact, with columns `id` and `text`,
    and `attributes` where documents have some.

    Without a number the version that serves is asked for the vectors.
    """

    idempotent: ClassVar[bool] = True
    name: Slug
    model: ModelName
    version: int | None = None
    digest: Digest
    format: TableFormat | None = None


class IndexView(Reply):
    """A search index: how many documents it has, whose vectors, and the task that made it."""

    name: str
    model: str
    version: int
    dimensions: int
    documents: int
    task_id: str
    updated_at: datetime | None = None


class IndexList(Reply):
    """Indexes of a project, by name."""

    indexes: list[IndexView] = []


class ListIndexes(Request[IndexList]):
    """Show the search indexes of the project."""


class GetIndex(Request[IndexView]):
    """Show one search index."""

    name: Slug


class DeleteIndex(Request[Done]):
    """Delete a search index and its documents."""

    name: Slug


class FoundDocument(Reply):
    """A document that was found: its place by meaning and by words, none where it is not among the first 100."""

    id: str
    text: str
    attributes: Attributes = {}
    score: float
    vector_rank: int | None = None
    text_rank: int | None = None


class SearchAnswer(Reply):
    """What was found, the best first."""

    documents: list[FoundDocument] = []


class SearchIndex(Request[SearchAnswer]):
    """Find documents by meaning, by words, or by both, in the name of the actor."""

    project: Slug = DEFAULT_PROJECT
    actor: str
    name: Slug
    query: str
    limit: int
    mode: SearchMode


class NodeResources(Reply):
    """What a node gives one version now; a version that is `parked` is loaded again when somebody asks it.

    `memory_bytes` is what its processes take, or where they cannot be `measured` an estimate by the size of its file.
    """

    node: str
    version: int
    state: Literal["resident", "parked", "restoring"]
    instances: int = 0
    memory_bytes: int = 0
    measured: bool = False
    last_used_at: datetime | None = None


class Resources(Reply):
    """What is wanted for a model on each node, and what its versions have; a budget of 0 has no end."""

    model: str
    instances_min: int = 1
    instances_max: int = 1
    pinned: bool = False
    memory_budget_bytes: int = 0
    given: list[NodeResources] = []


class StageVersion(Request[Done]):
    """Stage a version again that was unstaged, for who needs its answers now; any other stays as it is."""

    model: Slug
    version: int = Field(ge=1)


class GetResources(Request[Resources]):
    """Show the resources of a model."""

    model: Slug


class SetResources(Request[Resources]):
    """Bound the instances of a model's versions on each node, and say whether they always stay in memory."""

    model: Slug
    instances_min: int = Field(default=1, ge=1)
    instances_max: int = Field(default=1, ge=1)
    pinned: bool = False
