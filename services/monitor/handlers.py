"""What monitor hears and answers."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from services.monitor import store
from services.monitor.audit.handlers import AUDIT_RPC, audit
from services.monitor.dead_letters.handlers import DEAD_LETTER_RPC
from services.monitor.domain import causal_order, count_loss, cursor_after, moment, prediction_blocks
from services.monitor.engine import Host
from services.monitor.forecasting.domain import GOES_ON, forecast_of, with_forecast
from services.monitor.forecasting.forecasts import Forecasts
from services.monitor.history.handlers import HISTORY_RPC
from services.monitor.quotas.handlers import QUOTA_RPC
from services.monitor.rows import event_row, task_row
from services.monitor.tracing.handlers import TRACE_RPC
from services.monitor.usage.handlers import USAGE_RPC, count_attempt, on_storage_held, on_usage_counted
from shared import observe
from shared.credentials import credential_subject
from shared.envelope import Envelope
from shared.events import EVENTS
from shared.events.alarms import BusAccessDenied
from shared.events.base import Event
from shared.events.bus import AuditAdvanced
from shared.events.predictions import PredictionsLogged
from shared.events.storage import StorageHeld
from shared.events.tasks import TaskChanged
from shared.events.usage import UsageCounted
from shared.handlers import EventHandler, Handlers
from shared.quotas import quota_name
from shared.reading import StreamReader
from shared.rpc.monitor import (
    Forecast,
    GetForecast,
    GetHostMetrics,
    GetPredictionStatistics,
    GetTimeline,
    HostMetrics,
    ListPredictions,
    ListTasks,
    PredictionList,
    PredictionStatistics,
    TaskList,
    Timeline,
)
from shared.rpc.trainer import GetQueues
from shared.streams import retry_subject
from shared.work import Work as AnyWork


@dataclass(frozen=True)
class Parts:
    """What monitor works with beside its database."""

    host: Host
    events: StreamReader
    forecasts: Forecasts


Work = AnyWork[Parts]


def _heard(work: Work) -> tuple[Envelope, datetime]:
    """The envelope of the event in work, and when it happened."""
    assert work.envelope is not None
    return work.envelope, moment(work.envelope.time, work.envelope.stored_at or datetime.now(UTC))


async def on_event(event: Event, work: Work) -> None:
    """Put any event on the timeline, and a decision into the audit too."""
    envelope, at = _heard(work)
    work.together(store.insert_events, event_row(envelope, work.context, at, json.loads(event.model_dump_json())))
    if event.audited:
        await audit(event, work, at)


async def on_audit_advanced(event: AuditAdvanced, work: Work) -> None:
    """Its own: the audit has it, and the timeline would only say it again."""


async def on_bus_access_denied(event: BusAccessDenied, work: Work) -> None:
    """An alarm: in monitor's log, so on its page, and on the timeline."""
    observe.log().error(
        "the bus denied access to a service", of=event.service, action=event.action, subject=event.bus_subject
    )
    await on_event(event, work)


async def on_task_changed(event: TaskChanged, work: Work) -> None:
    """Put the event on the timeline and the task on the list."""
    await on_event(event, work)
    envelope, at = _heard(work)
    row = task_row(event, envelope.sequence, work.project, work.context.correlation_id, at)
    work.together(store.project_tasks, row)
    count_attempt(event, work, at)


async def on_predictions_logged(event: PredictionsLogged, work: Work) -> None:
    """Keep predictions, and how many of the node's were lost."""
    envelope, at = _heard(work)
    await store.insert_predictions(work.tx, work.project, event.model, prediction_blocks(event, at))
    known = await store.lock_loss(work.tx, work.project, event)
    await store.keep_loss(work.tx, work.project, event, count_loss(known, envelope.id, event.dropped))


async def list_tasks(request: ListTasks, work: Work) -> TaskList:
    found = await store.list_tasks(work.tx, work.project, request)
    shown = found[: request.limit]
    if request.as_of is None and any(task.state in GOES_ON for task in shown):
        expected = await work.parts.forecasts.now(work.tx)
        shown = [with_forecast(task, expected.get((work.project, task.id))) for task in shown]
    return TaskList(tasks=shown, next=cursor_after(shown[-1]) if len(found) > len(shown) else "")


async def get_forecast(request: GetForecast, work: Work) -> Forecast:
    expected = await work.parts.forecasts.now(work.tx)
    return forecast_of(expected.get((work.project, request.task_id)))


async def list_predictions(request: ListPredictions, work: Work) -> PredictionList:
    found = await store.list_predictions(work.tx, work.project, request)
    return PredictionList(predictions=found, dropped=await store.count_lost(work.tx, work.project, request.model))


async def get_prediction_statistics(request: GetPredictionStatistics, work: Work) -> PredictionStatistics:
    versions = await store.summarise(work.tx, work.project, request)
    return PredictionStatistics(seconds=request.seconds, versions=versions)


async def get_timeline(request: GetTimeline, work: Work) -> Timeline:
    entries, total = await store.chain(work.tx, work.project, request)
    truncated = total > len(entries)
    return Timeline(correlation_id=request.correlation_id, events=causal_order(entries), truncated=truncated)


async def get_host_metrics(request: GetHostMetrics, parts: Parts) -> HostMetrics:
    return parts.host.metrics


OWN_WAYS: dict[type[Event], EventHandler] = {
    AuditAdvanced: on_audit_advanced,
    BusAccessDenied: on_bus_access_denied,
    PredictionsLogged: on_predictions_logged,
    StorageHeld: on_storage_held,
    TaskChanged: on_task_changed,
    UsageCounted: on_usage_counted,
}
HANDLERS = Handlers(
    "monitor",
    events={event: on_event for event in EVENTS.values() if event.stream == "EVT"} | OWN_WAYS,
    others=on_event,
    rpc={
        ListTasks: list_tasks,
        GetForecast: get_forecast,
        ListPredictions: list_predictions,
        GetPredictionStatistics: get_prediction_statistics,
        GetTimeline: get_timeline,
        **HISTORY_RPC,
        **TRACE_RPC,
        **DEAD_LETTER_RPC,
        **AUDIT_RPC,
        **USAGE_RPC,
        **QUOTA_RPC,
    },
    memory_rpc={GetHostMetrics: get_host_metrics},
    asks=(GetQueues.subject(),),
    publishes=(retry_subject("*"), credential_subject(quota_name("*"))),
    reads=("DLQ", "EVT"),
    in_batches=True,
)
