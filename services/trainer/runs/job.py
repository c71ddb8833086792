"""Runs as tasks: their work is done elsewhere, so that nobody here claims one; the silent ones are given up."""

import asyncio
from typing import Any

from services.trainer.runs import store
from services.trainer.runs.domain import KIND
from shared.db import Database
from shared.events.common import TaskState
from shared.outbox import Relay
from shared.tasks import store as tasks
from shared.tasks.run import Job, TaskFailed, TaskRun, tell
from shared.tasks.store import Task
from shared.work import Work

SWEEP_SECONDS = 30.0


class RunJob(Job):
    """What the task kit asks of every kind of task."""

    kind = KIND
    can_pause = False

    async def execute(self, run: TaskRun) -> None:
        raise TaskFailed("RunLost", "a run is done by its client, and by no worker of ours")

    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all."""

    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        """The change of the task says it all; the client hears of it when it says something next."""


class SilentRuns:
    """Ends the runs of which nothing was heard for long: their clients have died."""

    def __init__(self, database: Database, relay: Relay, seconds: float) -> None:
        self._database, self._relay, self._seconds = database, relay, seconds

    async def run(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(min(SWEEP_SECONDS, self._seconds))

    async def sweep(self) -> None:
        async with self._database.connection() as connection:
            found = await store.silent(connection, self._seconds)
        for task_id, project in found:
            await self._end(task_id, project)

    async def _end(self, task_id: str, project: str) -> None:
        """Look again under the lock, for the client may have come back, or another process of ours been here."""
        async with self._database.connection() as connection:
            context = (await tasks.find(connection, project, task_id)).origin
        async with self._relay.work(context) as work:
            task = await tasks.find(work.tx, project, task_id, lock=True)
            if task.state is TaskState.RUNNING and await store.is_silent(work.tx, task_id, self._seconds):
                error = ("RunLost", f"its client said nothing for {self._seconds / 3600:g} hours")
                tell(work, await tasks.set_state(work.tx, task, TaskState.FAILED, error=error, note=task.note))
