"""The turns of schedules: a training each, unless the one before still goes on."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.trainer.acceptance import accept_training
from services.trainer.domain import KIND
from services.trainer.parts import Parts, Work
from services.trainer.schedules import store
from services.trainer.schedules.domain import next_after
from shared import outbox
from shared.context import Context
from shared.db import Database
from shared.errors import AimassError, Unavailable
from shared.looking import keep_looking
from shared.outbox import Relay
from shared.rpc.trainer import ScheduleView
from shared.tasks.store import new_task_id

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Clock:
    """Gives schedules their turns when their time has come; times that were missed count as one."""

    service: str
    database: Database
    relay: Relay
    parts: Parts

    async def run(self) -> None:
        await keep_looking("schedules", self._give_turn, LOOK_SECONDS)

    async def _give_turn(self) -> bool:
        async with self.database.connection() as connection:
            if not await store.is_due(connection):
                return False
        async with self.database.transaction() as tx:
            schedule = await store.due(tx)
            if schedule is None or schedule.cron is None:
                return False
            work = Work(tx, Context(project=schedule.project, actor=schedule.actor), self.parts)
            await take_turn(work, schedule, next_after(schedule.cron, datetime.now(UTC)))
            await outbox.write(tx, work.said, work.context, self.service)
        self.relay.wake()
        await work.finish()
        return True


async def take_turn(work: Work, schedule: ScheduleView, next_at: datetime | None = None) -> None:
    """Accept the schedule's training; what speaks against it is kept with the schedule, for people to see.

    Raises what passes by itself, such as Unavailable: the turn comes again.
    """
    if not schedule.overlap and schedule.last_task and await store.goes_on(work.tx, schedule.last_task):
        await store.turn(work.tx, schedule, next_at, error=f"left out: {schedule.last_task} still goes on")
        return
    try:
        async with work.tx.transaction():
            task = await accept_training(work, new_task_id(KIND), schedule.task)
    except Unavailable:
        raise
    except AimassError as error:
        await store.turn(work.tx, schedule, next_at, error=error.message)
        return
    await store.turn(work.tx, schedule, next_at, task.id)
