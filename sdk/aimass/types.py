"""The documents of the API, as dictionaries with known members; times are RFC 3339 strings."""

from typing import Any, TypedDict


class Member(TypedDict):
    """A member of the model library."""

    name: str
    task_type: str
    dataset: str
    config_schema: dict[str, Any]
    gate: list[dict[str, Any]]
    baseline: dict[str, Any] | None
    labels: list[str]
    features: list[dict[str, Any]]
    card: dict[str, Any]
    example: dict[str, Any]
    long: bool


class Dataset(TypedDict):
    """A data set: digests of it and of its parts, and facts of it."""

    name: str
    digest: str
    parts: dict[str, str]
    facts: dict[str, Any]
    created_at: str | None


class Accepted(TypedDict):
    """A task that was accepted; everything that follows from it carries the correlation id."""

    id: str
    state: str
    correlation_id: str


class Failure(TypedDict):
    """Why a task failed; exit signal or code where its process ended by itself, peak memory in bytes."""

    error_class: str
    message: str
    log: list[str]
    exit_signal: str
    exit_code: int | None
    peak_memory: int | None


class Task(TypedDict):
    """A task; its state is queued, running, paused, succeeded, failed or cancelled; unknown estimates are None."""

    id: str
    project: str
    kind: str
    model: str
    state: str
    progress: float
    note: str
    seconds_left: float | None
    attempt: int
    actor: str
    correlation_id: str
    parameters: dict[str, Any]
    result: dict[str, Any]
    error_class: str
    error_message: str
    failure: Failure | None
    priority: int
    tags: list[str]
    remark: str
    waits_for: list[str]
    parent: str
    place: str
    resources: dict[str, float] | None
    limits: dict[str, float | None] | None
    retries: dict[str, int] | None
    estimated_start: str | None
    estimated_end: str | None
    created_at: str | None
    started_at: str | None
    ended_at: str | None


class MetricPoint(TypedDict):
    """One scalar of one epoch."""

    epoch: int
    name: str
    value: float
    at: str


class LogLine(TypedDict, total=False):
    """A line of a task's log, or a report of its progress (stream `progress`)."""

    sequence: int
    at: float | None
    stream: str
    line: str
    level: str | None
    attempt: int
    fraction: float
    message: str
    seconds_left: float | None


class Model(TypedDict):
    """A model; aliases name versions, tags are what grants may be limited to."""

    name: str
    project: str
    task_type: str
    versions: int
    aliases: dict[str, int]
    tags: list[str]
    archived: bool
    created_at: str | None
    updated_at: str | None


class Version(TypedDict):
    """A version of a model, with its lineage and what its evaluation said."""

    model: str
    version: int
    digest: str
    task_id: str
    task_type: str
    dataset: str
    dataset_digest: str
    code_version: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    labels: list[str]
    signature: dict[str, Any]
    gate: list[dict[str, Any]]
    card: dict[str, Any]
    aliases: list[str]
    evaluation_id: str
    evaluation_passed: bool | None
    source: str
    derived_from: int | None
    actor: str
    archived: bool
    created_at: str | None


class Difference(TypedDict):
    """A value in two versions."""

    left: Any
    right: Any


class Comparison(TypedDict):
    """Two versions: parameters that differ, metrics side by side."""

    left: Version
    right: Version
    parameters: dict[str, Difference]
    metrics: dict[str, Difference]
    evaluation: dict[str, Difference]


class Garbage(TypedDict):
    """What was collected, or would be."""

    dry_run: bool
    named: int
    artifacts: int
    size: int
    datasets: list[str]
    more: bool


class Evaluation(TypedDict):
    """An evaluation of a version as served, beside the champion and the baseline that its member names."""

    id: str
    model: str
    version: int
    digest: str
    state: str
    dataset_digest: str
    metrics: dict[str, float]
    report: dict[str, Any]
    champion_version: int | None
    champion_metrics: dict[str, float]
    baseline_method: str
    baseline_metric: str
    baseline_metrics: dict[str, float]
    baseline_beaten: bool | None
    passed: bool | None
    reasons: list[str]
    created_at: str | None
    ended_at: str | None


class Deployment(TypedDict):
    """What is wanted of a version, and whether it is ready."""

    model: str
    version: int
    digest: str
    state: str
    ready: bool
    triton_name: str
    epoch: int
    note: str
    updated_at: str | None


class NodeResources(TypedDict):
    """What a node gives one version: resident, parked or restoring."""

    node: str
    version: int
    state: str
    instances: int
    memory_bytes: int
    measured: bool
    last_used_at: str | None


class Resources(TypedDict):
    """What is wanted for a model on each node, and what its versions have; a budget of 0 has no end."""

    model: str
    instances_min: int
    instances_max: int
    pinned: bool
    memory_budget_bytes: int
    given: list[NodeResources]


class Answers(TypedDict):
    """What a model answered to people: of each item a label with scores, a value, ranked items, outputs by name."""

    model: str
    version: int
    prediction_id: str
    predictions: list[dict[str, Any]]


class Prediction(TypedDict):
    """One answered prediction."""

    id: str
    model: str
    version: int
    status: int
    latency_ms: float
    batch: int
    key_id: str
    trace_id: str
    evaluation: bool
    at: str


class Event(TypedDict):
    """An event: `position` is its place in the log, `sequence` that among the events of what it is about."""

    id: str
    type: str
    source: str
    subject: str
    sequence: int
    position: int
    at: str
    actor: str
    correlation_id: str
    causation_id: str
    data: dict[str, Any]


class EventFilters(TypedDict, total=False):
    """Which events are asked for; all that are given count."""

    correlation_id: str
    type: str
    domain: str
    subject: str
    actor: str
    since: str | None
    until: str | None


class ApiKey(TypedDict):
    """An API key without its secret."""

    id: str
    name: str
    project: str
    roles: list[str]
    prefix: str
    created_by: str
    created_at: str | None
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    scopes: list[str] | None
    models: list[str]
    addresses: list[str]
    rate: float | None
    burst: int | None
    daily_requests: int | None


class NewApiKey(ApiKey):
    """A new API key with the secret that is shown this once."""

    secret: str


class User(TypedDict):
    """A person who may log in."""

    id: str
    name: str
    project: str
    roles: list[str]
    created_by: str
    created_at: str | None
    disabled_at: str | None


class NewUser(User):
    """A user with the password that is shown this once."""

    password: str


class Session(TypedDict):
    """A token for the Authorization header, and the seconds that it lasts; the refresh token gives the next ones, once.

    While a needed second factor is missing, it is for setting one up.
    """

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    session_id: str
    second_factor_missing: bool


class Tensor(TypedDict):
    """A tensor of the Open Inference Protocol as JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Delivery(TypedDict):
    """The way of an answer to its webhook: waiting, delivered or abandoned, and the last problem."""

    webhook: str
    state: str
    attempts: int
    problem: str
    next_at: str | None


class Inference(TypedDict):
    """A request that is answered later: queued, running, done, failed or cancelled; status is that of its answer."""

    id: str
    model: str
    version: int | None
    state: str
    note: str
    attempts: int
    status: int | None
    actor: str
    correlation_id: str
    delivery: Delivery | None
    created_at: str | None
    started_at: str | None
    ended_at: str | None


class Webhook(TypedDict):
    """Where answers may be posted to."""

    name: str
    url: str
    created_by: str
    created_at: str | None


class NewWebhook(Webhook):
    """A new webhook with the secret that signs what it gets."""

    secret: str
