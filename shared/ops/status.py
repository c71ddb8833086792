"""The status of a service: one document, computed from its metrics and checks when somebody asks."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client import Metric
from pydantic import BaseModel

from shared.errors import from_wire
from shared.ops.readiness import Readiness
from shared.ops.recent import RECENT, Remark
from shared.ops.window import STARTED, Change, Labels, Snapshot, quantile
from shared.version import VERSION

OURS = "aimass_"
HIDDEN = frozenset({"service"})
OUTCOMES = frozenset({"outcome", "status"})
SHOWN_ELSEWHERE = (
    "aimass_messages_published",
    "aimass_messages_consumed",
    "aimass_outbox_age_seconds",
    "aimass_outbox_dead",
    "aimass_database_connections_in_use",
    "aimass_consumer_pending",
    "aimass_consumer_unacknowledged",
    "aimass_consumer_redelivered",
)


class Process(BaseModel):
    """The operating system's view."""

    cpu_percent: float
    memory_bytes: float
    uptime_seconds: float
    open_files: int


class Flow(BaseModel):
    """A count since the process started, and its rate in the window."""

    total: float
    per_second: float


class Messages(BaseModel):
    """Events and commands, by what became of them."""

    published: Flow
    handled: Flow
    repeated: Flow
    retried: Flow
    dead: Flow


class Timing(BaseModel):
    """How often something was done in the window, and how long it took."""

    name: str
    total: float
    per_second: float
    errors_per_second: float
    p50_ms: float | None
    p99_ms: float | None


class Timings(BaseModel):
    """The rows of one histogram, and all of them together."""

    name: str
    title: str
    all: Timing
    rows: list[Timing]


class Consumer(BaseModel):
    """What waits for this service on a stream."""

    stream: str
    pending: int
    unacknowledged: int
    redelivered: int


class Outbox(BaseModel):
    age_seconds: float
    dead: int


class Pool(BaseModel):
    in_use: int
    most: int


class Figure(BaseModel):
    """Any other metric of the service; a gauge has no rate."""

    name: str
    title: str
    labels: dict[str, str]
    value: float
    per_second: float | None = None


class Table(BaseModel):
    """What a service alone has to show; numbers stand as numbers."""

    title: str
    columns: list[str]
    rows: list[list[str | int | float | None]]


class Status(BaseModel):
    """All that the operators' page shows."""

    service: str
    version: str = VERSION
    at: datetime
    window_seconds: float
    ready: bool
    problems: dict[str, str]
    degraded: dict[str, str]
    process: Process
    messages: Messages
    timings: list[Timings]
    consumers: list[Consumer]
    dead_letters: int | None
    outbox: Outbox | None
    database: Pool | None
    figures: list[Figure]
    tables: list[Table] = []
    remarks: list[Remark]


def describe(readiness: Readiness, pool_size: int, dead_letters: int | None, change: Change) -> Status:
    """Put together what is known now; `pool_size` is 0 for a service without a database."""
    now, problems = change.now, readiness.problems()
    return Status(
        service=readiness.service,
        at=datetime.now(UTC),
        window_seconds=change.seconds,
        ready=not problems,
        problems=problems,
        degraded=readiness.minor_problems(),
        process=_process(change),
        messages=_messages(change),
        timings=[_timings(family, change) for family in _ours(now.families, "histogram")],
        consumers=list(_consumers(change)),
        dead_letters=dead_letters,
        outbox=Outbox(age_seconds=now.value("aimass_outbox_age_seconds"), dead=int(now.value("aimass_outbox_dead")))
        if pool_size
        else None,
        database=Pool(in_use=int(now.value("aimass_database_connections_in_use")), most=pool_size)
        if pool_size
        else None,
        figures=list(_figures(change)),
        remarks=list(reversed(RECENT)),
    )


def _ours(families: Iterable[Metric], kind: str) -> list[Metric]:
    return [each for each in families if each.type == kind and each.name.startswith(OURS) and each.samples]


def _process(change: Change) -> Process:
    now = change.now
    return Process(
        cpu_percent=100 * change.total("process_cpu_seconds_total") / change.seconds,
        memory_bytes=now.value("process_resident_memory_bytes"),
        uptime_seconds=max(0.0, time.time() - now.value(STARTED)),
        open_files=int(now.value("process_open_fds")),
    )


def _flow(change: Change, name: str, **labels: str) -> Flow:
    values = change.now.all(name)
    total = sum(value for each, value in values.items() if labels.items() <= dict(each).items())
    return Flow(total=total, per_second=change.total(name, **labels) / change.seconds)


def _messages(change: Change) -> Messages:
    consumed = "aimass_messages_consumed_total"
    return Messages(
        published=_flow(change, "aimass_messages_published_total"),
        handled=_flow(change, consumed, outcome="done"),
        repeated=_flow(change, consumed, outcome="repeat"),
        retried=_flow(change, consumed, outcome="retry"),
        dead=_flow(change, consumed, outcome="dead"),
    )


def _timings(family: Metric, change: Change) -> Timings:
    """Rows by all labels but the outcome."""
    series = list(change.now.all(f"{family.name}_count"))
    groups: dict[str, list[Labels]] = {}
    for labels in series:
        groups.setdefault(_row_name(labels), []).append(labels)
    rows = [_timing(name, family.name, change, group) for name, group in sorted(groups.items())]
    together = _timing("all", family.name, change, series)
    return Timings(name=family.name, title=family.documentation, all=together, rows=rows)


def _row_name(labels: Labels) -> str:
    parts = [value for name, value in labels if name not in HIDDEN | OUTCOMES]
    return " ".join(sorted(parts, key=str.isupper, reverse=True))


def _timing(name: str, metric: str, change: Change, series: list[Labels]) -> Timing:
    """Quantiles of the window; where nothing happened in it, of all the time."""
    count = f"{metric}_count"
    buckets = _buckets(metric, change, set(series)) or _buckets(metric, Change(Snapshot(0), change.now), set(series))
    failed = sum(change.of(count, labels) for labels in series if _is_failure(labels))
    p50, p99 = quantile(buckets.items(), 0.5), quantile(buckets.items(), 0.99)
    return Timing(
        name=name,
        total=sum(change.now.all(count)[labels] for labels in series),
        per_second=sum(change.of(count, labels) for labels in series) / change.seconds,
        errors_per_second=failed / change.seconds,
        p50_ms=None if p50 is None else p50 * 1000,
        p99_ms=None if p99 is None else p99 * 1000,
    )


def _is_failure(labels: Labels) -> bool:
    """What went wrong here; a caller's own mistake does not count."""
    given = dict(labels)
    outcome = given.get("outcome", "ok")
    return given.get("status", "").startswith("5") or (outcome != "ok" and from_wire({"code": outcome}).status >= 500)


def _buckets(metric: str, change: Change, series: set[Labels]) -> dict[float, float]:
    """Cumulative counts by upper bound; empty when nothing was counted."""
    found: dict[float, float] = {}
    name = f"{metric}_bucket"
    for labels in change.now.all(name):
        if tuple(each for each in labels if each[0] != "le") in series:
            bound = float(dict(labels)["le"])
            found[bound] = found.get(bound, 0.0) + change.of(name, labels)
    return found if any(found.values()) else {}


def _consumers(change: Change) -> Iterator[Consumer]:
    now = change.now
    for labels, pending in sorted(now.all("aimass_consumer_pending").items()):
        yield Consumer(
            stream=dict(labels)["stream"],
            pending=int(pending),
            unacknowledged=int(now.all("aimass_consumer_unacknowledged").get(labels, 0)),
            redelivered=int(now.all("aimass_consumer_redelivered").get(labels, 0)),
        )


def _figures(change: Change) -> Iterator[Figure]:
    ours = _ours(change.now.families, "gauge") + _ours(change.now.families, "counter")
    for family in (each for each in ours if each.name not in SHOWN_ELSEWHERE):
        sample = f"{family.name}_total" if family.type == "counter" else family.name
        for labels, value in change.now.all(sample).items():
            yield Figure(
                name=family.name,
                title=family.documentation,
                labels={name: text for name, text in labels if name not in HIDDEN},
                value=value,
                per_second=change.of(sample, labels) / change.seconds if family.type == "counter" else None,
            )
