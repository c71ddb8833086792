"""Schedules: trainings that begin by the clock or by events."""

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import NewTask, order_of
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.trainer import (
    DeleteSchedule,
    GetSchedule,
    ListSchedules,
    PutSchedule,
    ScheduleList,
    ScheduleView,
    Trigger,
)

ROUTES = Routes("schedules")


class NewSchedule(BaseModel):
    """A training to begin again and again: by `cron`, five fields in UTC, or `on` an event whose fields match."""

    model_config = ConfigDict(extra="forbid")
    cron: str | None = Field(default=None, max_length=200, examples=["30 3 * * MON"])
    on: Trigger | None = None
    task: NewTask
    enabled: StrictBool = True
    overlap: StrictBool = Field(default=False, description="begin also while the task of the last turn goes on")


@ROUTES.add("GET", "/schedules", Permission.TASKS_READ)
async def list_schedules(caller: CallerOf) -> ScheduleList:
    """The schedules of the project."""
    return await caller.ask(ListSchedules())


@ROUTES.add("GET", "/schedules/{name}", Permission.TASKS_READ)
async def show_schedule(name: Slug, caller: CallerOf) -> ScheduleView:
    """One schedule, its next turn and what became of the last one."""
    return await caller.ask(GetSchedule(name=name))


@ROUTES.add("PUT", "/schedules/{name}", Permission.TASKS_WRITE)
async def put_schedule(name: Slug, body: NewSchedule, caller: CallerOf) -> ScheduleView:
    """Make a schedule, or put it in the place of an earlier one of this name."""
    facts = body.model_dump(exclude={"task", "on"})
    return await caller.ask(PutSchedule(name=name, task=order_of(body.task), on=body.on, **facts))


@ROUTES.add("DELETE", "/schedules/{name}", Permission.TASKS_WRITE, status_code=204, response_class=Response)
async def delete_schedule(name: Slug, caller: CallerOf) -> None:
    """Forget a schedule; what it began goes on."""
    await caller.ask(DeleteSchedule(name=name))
