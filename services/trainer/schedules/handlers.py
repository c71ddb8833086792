"""What people ask of schedules, and the events that schedules answer."""

from datetime import UTC, datetime
from typing import Any

import library
from services.trainer.domain import plan
from services.trainer.parts import Work
from services.trainer.schedules import store
from services.trainer.schedules.domain import answers, check, next_after
from services.trainer.schedules.turns import take_turn
from shared.events.base import Event
from shared.events.deployment import TrafficSwitched
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import DatasetRegistered, VersionPromoted, VersionRegistered
from shared.handlers import RpcHandler
from shared.names import snake
from shared.rpc.base import Done, Request
from shared.rpc.trainer import (
    DeleteSchedule,
    GetSchedule,
    ListSchedules,
    PutSchedule,
    ScheduleList,
    ScheduleView,
)

TRIGGERS: tuple[type[Event], ...] = (
    DatasetRegistered,
    VersionRegistered,
    EvaluationCompleted,
    VersionPromoted,
    TrafficSwitched,
)


async def put_schedule(request: PutSchedule, work: Work) -> ScheduleView:
    check(request)
    order = request.task
    plan(library.model(order.model), order.config, order.auto_promote, order.training)
    next_at = next_after(request.cron, datetime.now(UTC)) if request.cron else None
    return await store.put(work.tx, work.project, work.context.actor, request, next_at)


async def get_schedule(request: GetSchedule, work: Work) -> ScheduleView:
    return await store.find(work.tx, work.project, request.name)


async def list_schedules(request: ListSchedules, work: Work) -> ScheduleList:
    return ScheduleList(schedules=await store.schedules(work.tx, work.project))


async def delete_schedule(request: DeleteSchedule, work: Work) -> Done:
    await store.delete(work.tx, work.project, request.name)
    return Done()


async def on_trigger(event: Event, work: Work) -> None:
    """Give a turn to the schedules that answer the event; to each once in a chain, which ends what would go round."""
    data = event.model_dump(mode="json")
    for schedule in await store.triggered(work.tx, work.project, snake(type(event).__name__)):
        meant = schedule.on is not None and answers(schedule.on, data)
        if meant and await store.take_chain(work.tx, schedule, work.context.correlation_id):
            await take_turn(work, schedule)


SCHEDULE_RPC: dict[type[Request[Any]], RpcHandler] = {
    PutSchedule: put_schedule,
    GetSchedule: get_schedule,
    ListSchedules: list_schedules,
    DeleteSchedule: delete_schedule,
}
