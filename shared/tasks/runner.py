"""The runner: claims tasks, holds their leases, runs their jobs, and ends what it no longer holds."""

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared import observe, outbox
from shared.artifacts import Artifacts
from shared.bus import Bus
from shared.db import Database
from shared.errors import AimassError, LeaseLost, Unavailable
from shared.events.common import TaskState
from shared.settings import TaskSettings
from shared.streams import log_subject
from shared.tasks import store
from shared.tasks.process import TaskProcess, task_process
from shared.tasks.store import Task
from shared.work import Work
from shared.worker import Progress

POLL_SECONDS = 0.5
BEAT_SECONDS = 1.0
MAX_ATTEMPTS = 25


class TaskFailed(AimassError):
    """The task failed."""

    code = "task_failed"

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


class ProcessLost(AimassError):
    """The task's process ended without a result; the task goes on from its last checkpoint."""

    code = "process_lost"
    transient = True


@dataclass
class TaskRun:
    """A task in the hands of this worker; everything that it writes names the fencing number."""

    task: Task
    folder: Path
    runner: "TaskRunner"
    context: Any = field(init=False)

    def __post_init__(self) -> None:
        self.context = self.task.origin

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work[None]]:
        """A transaction that commits only while we hold the task; raises LeaseLost otherwise."""
        async with self.runner.database.transaction() as tx:
            self.task = await store.hold(tx, self.task)
            work: Work[None] = Work(tx, self.context, None)
            yield work
            await outbox.write(tx, work.said, self.context, self.runner.service)
        self.runner.relay.wake()

    @asynccontextmanager
    async def process(self, module: str, spec: BaseModel | dict[str, Any]) -> AsyncIterator[TaskProcess]:
        """The task's process, in its work folder, with its output in the task's log."""
        threads = self.runner.settings.task_threads
        async with task_process(module, spec, self.folder, self.log, threads) as process:
            yield process

    async def log(self, stream: str, line: str) -> None:
        """Add a line to the task's log; a log that the bus does not take is dropped and counted."""
        body = {"at": time.time(), "stream": stream, "line": line, "attempt": self.task.fence}
        await self._publish_log(body)

    async def progress(self, report: Progress) -> None:
        """Note how far the task is, in its row and in its log."""
        async with self.runner.database.transaction() as tx:
            task = self.task
            self.task = await store.set_progress(tx, task, report.fraction, report.message, report.seconds_left)
        await self._publish_log({"at": time.time(), "stream": "progress", **report.model_dump(exclude={"type"})})

    async def _publish_log(self, body: dict[str, Any]) -> None:
        subject = log_subject(self.task.project, self.task.id)
        try:
            await self.runner.bus.js.publish(subject, json.dumps(body).encode(), timeout=2)
        except Exception as error:
            observe.BUS_ERRORS.labels(self.runner.service, "log_dropped").inc()
            observe.log().warning("log line dropped", task=self.task.id, error=repr(error))

    async def succeed(self, work: Work[None], result: dict[str, Any], note: str = "") -> None:
        """End the task well, in the transaction of what it brought about."""
        await self._end(work, TaskState.SUCCEEDED, result=result, note=note)

    async def _end(self, work: Work[None], state: TaskState, **facts: Any) -> None:
        self.task = await store.set_state(work.tx, self.task, state, **facts)
        work.say(self.task.changed(self.runner.service))


class Job:
    """What a service does for one kind of task; `execute` ends with run.succeed or raises."""

    kind: str

    async def execute(self, run: TaskRun) -> None:
        raise NotImplementedError

    def on_failed(self, run: TaskRun, work: Work[None], error_class: str, message: str) -> None:
        """Say more than TaskChanged when the task failed."""

    def on_cancelled(self, run: TaskRun, work: Work[None]) -> None:
        """Say more than TaskChanged when the task was cancelled."""


class TaskRunner:
    """Runs the tasks of one service, `task_workers` at a time."""

    def __init__(self, service: str, settings: TaskSettings, bus: Bus, database: Database, relay: outbox.Relay) -> None:
        self.service, self.settings, self.bus = service, settings, bus
        self.database, self.relay = database, relay
        self.artifacts = Artifacts(settings.artifacts_url)
        self.owner = f"{socket.gethostname()}-{os.getpid()}"
        self._jobs: dict[str, Job] = {}
        self._woken = asyncio.Event()
        self._draining = False

    def add(self, job: Job) -> None:
        self._jobs[job.kind] = job

    def wake(self) -> None:
        """A task was accepted here; do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.task_workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            try:
                task = await self._claim()
            except Unavailable:
                task = None
            if task is None:
                await self._wait()
            else:
                await self._hold(task)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    async def _claim(self) -> Task | None:
        async with self.database.transaction() as tx:
            task = await store.claim(tx, list(self._jobs), self.owner, self.settings.lease_seconds)
            if task is None:
                return None
            await outbox.write(tx, [task.changed(self.service)], task.origin, self.service)
        self.relay.wake()
        return task

    async def _hold(self, task: Task) -> None:
        """Run a claimed task to its end, or until it is not ours any more."""
        folder = (self.settings.home_dir / "tasks" / f"{task.id}-{task.fence}").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run = TaskRun(task, folder, self)
        try:
            with observe.span(f"task {task.kind}", SpanKind.INTERNAL, task.origin.traceparent):
                await self._run(run)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, run: TaskRun) -> None:
        job = self._jobs[run.task.kind]
        executing = asyncio.create_task(job.execute(run))
        beating = asyncio.create_task(self._beat(run.task))
        await asyncio.wait({executing, beating}, return_when=asyncio.FIRST_COMPLETED)
        verdict = beating.result() if beating.done() else None
        await _cancel(beating)
        await self._conclude(run, job, executing, verdict)

    async def _beat(self, task: Task) -> TaskState | None:
        """Hold the lease; returns CANCELLED when a person wants that, None when the lease is lost."""
        held = time.monotonic()
        while True:
            await asyncio.sleep(min(BEAT_SECONDS, self.settings.lease_seconds / 4))
            try:
                if await self._renew(task):
                    return TaskState.CANCELLED
                held = time.monotonic()
            except LeaseLost:
                return None
            except Unavailable:
                if time.monotonic() - held > self.settings.lease_seconds:
                    return None

    async def _renew(self, task: Task) -> bool:
        async with self.database.transaction() as tx:
            return await store.renew(tx, task, self.settings.lease_seconds)

    async def _conclude(
        self, run: TaskRun, job: Job, executing: "asyncio.Task[None]", verdict: TaskState | None
    ) -> None:
        if not executing.done():
            await _cancel(executing)
            if verdict is TaskState.CANCELLED:
                await self._end(run, TaskState.CANCELLED, lambda work: job.on_cancelled(run, work), note="cancelled")
            else:
                observe.log().warning("lease lost", task=run.task.id, fence=run.task.fence)
            return
        error = executing.exception()
        if error is None or isinstance(error, LeaseLost):
            return
        if _goes_on(error) and run.task.fence < MAX_ATTEMPTS:
            await self._release(run, error)
        else:
            await self._fail(run, job, error)

    async def _release(self, run: TaskRun, error: BaseException) -> None:
        """Give the task back, to go on from its last checkpoint after a pause."""
        observe.log().warning("task goes on later", task=run.task.id, error=repr(error))
        await asyncio.sleep(min(5.0, 0.2 * run.task.fence))
        await self._end(run, TaskState.QUEUED, lambda work: None, note=f"goes on after: {error}")

    async def _fail(self, run: TaskRun, job: Job, error: BaseException) -> None:
        error_class = error.error_class if isinstance(error, TaskFailed) else type(error).__name__
        observe.log().error("task failed", task=run.task.id, exc_info=error)
        facts = (error_class, str(error))
        await self._end(run, TaskState.FAILED, lambda work: job.on_failed(run, work, *facts), error=facts)

    async def _end(
        self, run: TaskRun, state: TaskState, say: Callable[[Work[None]], Awaitable[None] | None], **facts: Any
    ) -> None:
        """Write the end; while the database is down the lease runs out and another worker goes on."""
        try:
            async with run.work() as work:
                await run._end(work, state, **facts)
                say(work)
        except (LeaseLost, Unavailable) as error:
            observe.log().warning("task's end not written", task=run.task.id, error=error.message)


def _goes_on(error: BaseException) -> bool:
    """Whether a later attempt may succeed: our own transient errors, never a failure of the task itself."""
    return isinstance(error, AimassError) and error.transient


async def _cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait({task})
