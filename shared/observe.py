"""Logs (structlog, JSON lines), metrics (Prometheus) and spans (OpenTelemetry) of a service.

`messaging.system` has no registered value for NATS in the semantic conventions: the custom value `nats` is used.
"""

import logging
import logging.handlers
import random
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

from shared.ops.recent import remember
from shared.settings import ServiceSettings

TRACE_FILE_BYTES = 20_000_000
EXPORT_SECONDS = 5.0
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TRACER = "aimass"
_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

PUBLISHED = Counter("aimass_messages_published_total", "Messages that the outbox relay published", ["service", "type"])
CONSUMED = Counter("aimass_messages_consumed_total", "Messages handled, by outcome", ["service", "type", "outcome"])
CONSUME_SECONDS = Histogram("aimass_message_seconds", "Time to handle a message", ["service", "type"], buckets=BUCKETS)
RPC_SECONDS = Histogram(
    "aimass_rpc_seconds", "Time to answer a request over the bus", ["service", "verb", "outcome"], buckets=BUCKETS
)
OUTBOX_AGE = Gauge("aimass_outbox_age_seconds", "Age of the oldest unpublished message", ["service"])
OUTBOX_DEAD = Gauge("aimass_outbox_dead", "Messages that can never be published", ["service"])
POOL_IN_USE = Gauge("aimass_database_connections_in_use", "Connections in use", ["service"])
CONSUMER_PENDING = Gauge("aimass_consumer_pending", "Messages not yet delivered", ["service", "stream"])
CONSUMER_UNACKNOWLEDGED = Gauge(
    "aimass_consumer_unacknowledged", "Messages delivered and not yet settled", ["service", "stream"]
)
CONSUMER_REDELIVERED = Gauge(
    "aimass_consumer_redelivered", "Messages delivered more than once and not yet settled", ["service", "stream"]
)
BUS_DENIED = Counter("aimass_bus_denied_total", "What the bus refused, which alarms", ["service", "action"])
BUS_ERRORS = Counter("aimass_bus_errors_total", "Errors that the bus reported, denials among them", ["service", "kind"])


def log() -> Any:
    return structlog.get_logger()


def _add_trace(_: Any, __: str, event: Any) -> Any:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


def set_up_logs(service: str, level: str) -> None:
    """JSON lines on standard output; library logs join them at warning level."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_trace,
            structlog.processors.format_exc_info,
            remember,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")


class _FileExporter(SpanExporter):
    """One JSON line a span, in a file that is rotated."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = logging.handlers.RotatingFileHandler(path, maxBytes=TRACE_FILE_BYTES, backupCount=1)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "\n".join(span.to_json(indent=None) for span in spans)
        self._file.emit(logging.LogRecord("spans", logging.INFO, "", 0, lines, None, None))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._file.close()


def _exporters(settings: ServiceSettings) -> Iterator[SpanExporter]:
    """Where spans go; the OTLP exporter is imported only by who sends to a collector."""
    if settings.trace_file:
        yield _FileExporter(settings.trace_file)
    if settings.trace_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        yield OTLPSpanExporter(str(settings.trace_endpoint), timeout=EXPORT_SECONDS)


def set_up_traces(service: str, settings: ServiceSettings) -> None:
    """Spans of sampled traces go to the trace file and the collector; a sampled parent is always followed."""
    resource = Resource.create({"service.name": service})
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)), resource=resource)
    chosen = TracerProvider(sampler=ALWAYS_ON, resource=resource)
    for exporter in _exporters(settings):
        processor = BatchSpanProcessor(exporter, schedule_delay_millis=1000)
        provider.add_span_processor(processor)
        chosen.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    _tracing.tracer = trace.get_tracer(TRACER)
    _tracing.chosen, _tracing.ratio = chosen.get_tracer(TRACER), settings.trace_ratio


def set_up(service: str, settings: ServiceSettings) -> None:
    set_up_logs(service, settings.log_level)
    set_up_traces(service, settings)


class _Tracing:
    """The tracers of this process: one that decides by itself what to record, and one for what was chosen."""

    def __init__(self) -> None:
        self.tracer = self.chosen = trace.get_tracer(TRACER)
        self.ratio = 0.0


_tracing = _Tracing()


def begun(traceparent: str, request_id: bytes) -> tuple[str, bool]:
    """The trace of a request with this parent or with none, and whether to record it: as the parent is, else by the
    ratio. A trace that nobody records has the id of its request, a UUID, and so still joins what belongs together.
    """
    if traceparent and _TRACEPARENT.fullmatch(traceparent):
        return traceparent, bool(int(traceparent[-2:], 16) & 1)
    if random.random() < _tracing.ratio:
        return traceparent, True
    trace_id = request_id.hex()
    return f"00-{trace_id}-{trace_id[16:]}-00", False


@contextmanager
def recorded_span(name: str, traceparent: str) -> Iterator[trace.Span]:
    """The span of a request that `begun` has chosen."""
    parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
    with _tracing.chosen.start_as_current_span(name, context=parent, kind=SpanKind.SERVER) as current:
        yield current


@contextmanager
def span(name: str, kind: SpanKind, traceparent: str = "", **attributes: str | int) -> Iterator[trace.Span]:
    """A span under the given parent, or under the current one."""
    parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
    with _tracing.tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as current:
        yield current


def current_traceparent() -> str:
    """The W3C traceparent of the current span, or nothing."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")
