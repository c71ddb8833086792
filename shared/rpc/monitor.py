"""Requests that monitor answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.as_of import AsOf
from shared.names import ModelName, Slug
from shared.rpc.base import Reply, Request
from shared.rpc.tasks import TaskView
from shared.selection import Selection
from shared.tasks.terms import Tag, TaskId

LETTER_PATTERN = r"^[a-z]{1,32}-[A-Z_]{1,32}-[0-9]{1,19}$"
LetterId = Annotated[str, Field(pattern=LETTER_PATTERN, description="such as registry-EVT-17")]
LetterState = Literal["waiting", "replayed", "discarded"]
CURSOR_PATTERN = r"^([0-9]{1,16}_[a-z]{1,32}-[0-9a-f-]{36})?$"


class TaskList(Reply):
    """Tasks of all services, newest first; `next` is the cursor of those that follow, empty at the end."""

    tasks: list[TaskView] = []
    next: str = ""


class Forecast(Reply):
    """When a task is expected to begin and to end, as far as that follows from what is known."""

    estimated_start: datetime | None = None
    estimated_end: datetime | None = None


class GetForecast(Request[Forecast]):
    """Estimate a task that waits or runs."""

    task_id: TaskId


class PredictionView(Reply):
    """One answered request of the data plane."""

    id: str
    model: str
    version: int
    status: int
    latency_ms: float
    batch: int = 0
    key_id: str = ""
    trace_id: str = ""
    evaluation: bool = False
    at: datetime


class PredictionList(Reply):
    """Predictions of a project, newest first; dropped ones were lost under pressure."""

    predictions: list[PredictionView] = []
    dropped: int = 0


class TimelineEntry(Reply):
    """One event: `position` is its sequence in the log, `sequence` that of what it is about."""

    id: str
    type: str
    source: str
    subject: str
    sequence: int
    position: int = 0
    at: datetime
    actor: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    data: dict[str, Any] = {}


class Timeline(Reply):
    """The events of one correlation id, in order; truncated when there are more.

    Of a page of the log `next` is the position that goes on, as `before` or as `after`, where there are more.
    """

    correlation_id: str = ""
    events: list[TimelineEntry] = []
    truncated: bool = False
    next: int | None = None


class PredictionSummary(Reply):
    """The requests that one version answered: how many, how many in vain, and how fast."""

    model: str
    version: int
    count: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class PredictionStatistics(Reply):
    """Summaries of the last seconds, evaluation traffic left out."""

    seconds: int
    versions: list[PredictionSummary] = []


class Gpu(Reply):
    """One GPU; what its driver does not tell is missing."""

    number: int
    name: str = ""
    utilization_percent: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature_celsius: float | None = None


class HostMetrics(Reply):
    """The host's load: CPU in percent of all cores, memory, disk and transfers in bytes."""

    cpu_percent: float
    cpu_count: int
    memory_total: int
    memory_used: int
    load_1m: float
    load_5m: float = 0
    load_15m: float = 0
    disk_total: int = 0
    disk_used: int = 0
    disk_read_per_second: float = 0
    disk_written_per_second: float = 0
    network_received_per_second: float = 0
    network_sent_per_second: float = 0
    gpus: list[Gpu] = []
    at: datetime


class ListTasks(Request[TaskList]):
    """Show tasks, newest first; `cursor` goes on where an earlier answer ended."""

    kind: Slug | None = None
    state: Slug | None = None
    model: ModelName | None = None
    tag: Tag | None = None
    parent: TaskId | None = None
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: Annotated[str, Field(pattern=CURSOR_PATTERN)] = ""
    task_id: TaskId | None = None
    as_of: AsOf = None


class ListPredictions(Request[PredictionList]):
    """Show predictions, newest first; evaluation traffic only on request."""

    model: ModelName | None = None
    prediction_id: str | None = None
    evaluation: bool = False
    limit: int = Field(default=100, ge=1, le=1000)


class GetPredictionStatistics(Request[PredictionStatistics]):
    """Summarise the last predictions by version."""

    model: ModelName | None = None
    seconds: int = Field(default=300, ge=1, le=86400)


class GetTimeline(Request[Timeline]):
    """Show the chain of events of a correlation id, the progress within a task's state only on request."""

    correlation_id: str = Field(min_length=1, max_length=200)
    progress: bool = False
    limit: int = Field(default=1000, ge=1, le=5000)


class ListEvents(Request[Timeline]):
    """Show events of the log in pages: from a position or a time on, or newest first."""

    selection: Selection = Selection()
    after: Annotated[int | None, Field(ge=0)] = None
    before: Annotated[int | None, Field(ge=0)] = None
    limit: int = Field(default=100, ge=1, le=1000)

    @property
    def forwards(self) -> bool:
        """From the older to the newer ones."""
        return self.after is not None or (self.selection.since is not None and self.before is None)


class TraceNode(Reply):
    """What happened or was: an event, task, pipeline, version, prediction, or the predictions of a version together.

    It hangs from `parent`, `depth` below the top; `caused` counts what hangs from it, `count` what it stands for.
    """

    id: str
    parent: str = ""
    depth: int = 0
    kind: str
    name: str
    about: str = ""
    at: datetime
    until: datetime | None = None
    state: str = ""
    count: int = 1
    caused: int = 0
    position: int = 0
    asked: bool = False
    facts: dict[str, Any] = {}


class Trace(Reply):
    """The tree of cause and effect around an id, depth first; truncated where the newest events are left out."""

    id: str
    nodes: list[TraceNode] = []
    truncated: bool = False


class GetTrace(Request[Trace]):
    """Show what led to something and what came of it.

    `of` is the id of an event, task, pipeline, evaluation, prediction or chain, or a version as digits-cnn/3.
    """

    of: str = Field(min_length=1, max_length=200)
    limit: int = Field(default=1000, ge=1, le=2000)


class GetHostMetrics(Request[HostMetrics]):
    """Show the host's load now."""


class DeadLetter(Reply):
    """A message that a service gave up on: why, after how many deliveries, and what was decided about it since."""

    id: str
    service: str
    state: LetterState
    type: str
    subject: str
    event_id: str
    error_class: str
    error: str
    deliveries: int
    correlation_id: str
    at: datetime
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""


class DeadLetterContent(DeadLetter):
    """The letter itself: `payload` is text, or base64 where it is none; `stack` is where its last attempt failed."""

    stack: str = ""
    traceparent: str = ""
    headers: dict[str, str] = {}
    payload: str = ""
    encoding: Literal["text", "base64"] = "text"


class DeadLetterList(Reply):
    """Letters of a project, newest first; `waiting` counts all that nobody has decided about."""

    letters: list[DeadLetter] = []
    waiting: int = 0


class ListDeadLetters(Request[DeadLetterList]):
    """Show what services gave up on."""

    of: Slug | None = None
    state: LetterState | None = None
    type: str = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class GetDeadLetter(Request[DeadLetterContent]):
    """Show one letter whole."""

    letter_id: LetterId


class ReplayDeadLetter(Request[DeadLetter]):
    """Have the service that gave up try once more, and nobody else."""

    idempotent = True
    letter_id: LetterId


class Replayed(Reply):
    """The letters that go to their services once more."""

    ids: list[str] = []


class ReplayDeadLetters(Request[Replayed]):
    """Have a service try once more all letters that wait, or those of one type, at most a thousand at a time."""

    idempotent = True
    of: Slug
    type: str = ""


class DiscardDeadLetter(Request[DeadLetter]):
    """Decide that nobody will handle this letter."""

    idempotent = True
    letter_id: LetterId
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class AuditEntry(Reply):
    """A decision: what, by whom, when, why where it was said, and the event that caused it."""

    position: int
    type: str
    source: str
    subject: str
    event_id: str
    actor: str
    reason: str = ""
    at: datetime
    correlation_id: str = ""
    causation_id: str = ""
    data: dict[str, Any] = {}
    previous: str
    digest: str


class AuditList(Reply):
    """Entries of a project, newest first; `before` the position of the last one come those that follow."""

    entries: list[AuditEntry] = []


class AuditVerification(Reply):
    """Whether a chain is intact, of how many entries; else the first position that is not as it was, and how.

    `published` counts the digests that the bus holds of it, with which it was compared.
    """

    intact: bool
    entries: int
    published: int
    position: int = 0
    problem: str = ""


class ListAudit(Request[AuditList]):
    """Show who decided what."""

    actor: str | None = None
    type: str = ""
    about: str = ""
    before: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class VerifyAudit(Request[AuditVerification]):
    """Go along the whole chain."""
