"""The runner: claims tasks, holds their leases, runs their jobs, and ends what it no longer holds."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from opentelemetry.trace import SpanKind

from shared import failpoints, observe, outbox
from shared.artifacts import Artifacts
from shared.errors import AimassError, LeaseLost, Unavailable
from shared.events.common import TaskState
from shared.service import Service
from shared.settings import TaskSettings
from shared.tasks import store
from shared.tasks.failure import failure_of
from shared.tasks.process import ProcessLost
from shared.tasks.run import Job, TaskFailed, TaskRun, tell
from shared.tasks.scratch import scratch
from shared.tasks.state import is_final
from shared.tasks.store import Task
from shared.work import Work

POLL_SECONDS = 0.5
BEAT_SECONDS = 1.0
TELL_SECONDS = 5.0
REST_SECONDS = 3.0
MAX_REST_SECONDS = 10.0
FINISH_SECONDS = 10.0
STOP_AGAIN_SECONDS = 15.0
MAX_ATTEMPTS = 10


class TaskRunner:
    """Runs the tasks of one service, `task_workers` at a time."""

    def __init__(self, service: Service, settings: TaskSettings) -> None:
        assert service.database is not None and service.relay is not None, "tasks need a database"
        self.settings, self.bus = settings, service.bus
        self.database, self.relay = service.database, service.relay
        self.artifacts = Artifacts(settings.artifacts_url)
        self._service = service.name
        self._owner = f"{socket.gethostname()}-{os.getpid()}"
        self._jobs: dict[str, Job] = {}
        self._woken = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._draining = False

    def add(self, job: Job) -> None:
        self._jobs[job.kind] = job

    def job(self, kind: str) -> Job:
        return self._jobs[kind]

    async def wake(self) -> None:
        """A task was committed here: do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled or drained."""
        self._draining = False
        with scratch(self.settings.home_dir / "tasks") as folder:
            self._workers = {asyncio.create_task(self._work(folder)) for _ in range(self.settings.task_workers)}
            try:
                await asyncio.wait(self._workers)
            finally:
                await self.drain()

    async def drain(self) -> None:
        """Give back what runs here, at once, so that another process goes on with it."""
        self._draining = True
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)

    async def _work(self, folder: Path) -> None:
        while not self._draining:
            self._woken.clear()
            try:
                if task := await self._claim():
                    await self._attend(task, folder / f"{task.id}-{task.fence}")
                    continue
            except Unavailable as error:
                observe.log().debug("no tasks without the database", error=error.message)
            except Exception as error:
                observe.log().error("worker failed", exc_info=error)
            await self._wait()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()

    async def _claim(self) -> Task | None:
        async with self.database.transaction() as tx:
            task = await store.claim(tx, list(self._jobs), self._owner, self.settings.lease_seconds)
            if task is None:
                return None
            work: Work[None] = Work(tx, task.origin, None)
            tell(work, task)
            await outbox.write(tx, work.said, task.origin, self._service)
        failpoints.reach("committed", "claim")
        self.relay.wake()
        return task

    async def _attend(self, task: Task, folder: Path) -> None:
        """Run a claimed task to its end, or until it is not ours any more."""
        run = TaskRun(task, folder, self)
        try:
            with observe.span(f"task {task.kind}", SpanKind.INTERNAL, task.origin.traceparent):
                async with run.log.flowing():
                    await self._attempt(run, self._jobs[task.kind])
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _attempt(self, run: TaskRun, job: Job) -> None:
        executing = asyncio.create_task(_execute(run, job))
        beating = asyncio.create_task(self._beat(run))
        try:
            await asyncio.wait({executing, beating}, return_when=asyncio.FIRST_COMPLETED)
            if is_final(run.task.state):
                await asyncio.wait({executing}, timeout=FINISH_SECONDS)
            if executing.done():
                await self._conclude(run, job, _error_of(executing))
            elif not is_final(run.task.state):
                await _stop(executing)
                await self._stopped(run, job, cancelled=beating.result())
        except asyncio.CancelledError:
            await _stop(executing)
            await self._close(run, lambda work: self._give_back(run, job, work, "the service stops", 0))
            raise
        finally:
            await _stop(executing)
            await _stop(beating)

    async def _beat(self, run: TaskRun) -> bool:
        """Hold the lease; returns True when the task shall be cancelled, False when the lease is lost."""
        held = told = time.monotonic()
        while time.monotonic() - held < self.settings.lease_seconds:
            await asyncio.sleep(min(BEAT_SECONDS, self.settings.lease_seconds / 4))
            now = time.monotonic()
            try:
                if await self._renew(run, aloud := now - told > TELL_SECONDS):
                    return True
                held, told = now, now if aloud else told
            except LeaseLost:
                return False
            except Exception as error:
                observe.log().warning("heartbeat failed", task=run.task.id, error=repr(error))
        return False

    async def _renew(self, run: TaskRun, aloud: bool) -> bool:
        """Prolong the lease and note the progress; say it too where it moved since it was said last."""
        reached, before = run.reached, run.task
        async with asyncio.timeout(max(1.0, self.settings.lease_seconds / 2)), self.database.transaction() as tx:
            run.task = await store.renew(tx, run.task, self.settings.lease_seconds, reached)
            if aloud:
                await outbox.write(tx, [run.task.changed()], run.context, self._service)
        failpoints.reach("committed", "renewal")
        if (reached.fraction, reached.message) != (before.progress, before.note):
            run.log.tell("progress", **reached.model_dump(exclude={"type"}))
        return run.task.cancel_requested

    async def _stopped(self, run: TaskRun, job: Job, *, cancelled: bool) -> None:
        """The heartbeat ended the attempt."""
        if cancelled:
            await self._close(run, lambda work: _cancel(run, job, work))
        else:
            _tell_lost(run)

    async def _conclude(self, run: TaskRun, job: Job, error: BaseException | None) -> None:
        """The job ended by itself."""
        if isinstance(error, LeaseLost):
            _tell_lost(run)
        if error is None or isinstance(error, LeaseLost):
            return
        if isinstance(error, AimassError) and error.transient:
            await self._close(run, lambda work: self._let_go_on(run, job, work, error))
        else:
            observe.log().error("task failed", task=run.task.id, exc_info=error)
            await self._close(run, lambda work: _fail(run, job, work, error))

    async def _let_go_on(self, run: TaskRun, job: Job, work: Work[None], error: AimassError) -> None:
        lost = isinstance(error, ProcessLost)
        rest = min(MAX_REST_SECONDS, 0.5 * 2**run.task.lost) if lost else REST_SECONDS
        observe.log().warning("task goes on later", task=run.task.id, error=error.message, seconds=rest)
        if lost:
            run.task = await store.keep_failure(work.tx, run.task, failure_of(run, error))
        await self._give_back(run, job, work, f"goes on after: {error.message}", rest, lost=lost)

    async def _give_back(
        self, run: TaskRun, job: Job, work: Work[None], why: str, rest_seconds: float, *, lost: bool = False
    ) -> None:
        if run.task.cancel_requested:
            await _cancel(run, job, work)
            return
        run.task = await store.release(work.tx, run.task, why, rest_seconds, lost=lost)
        tell(work, run.task)

    async def _close(self, run: TaskRun, change: Callable[[Work[None]], Awaitable[None]]) -> None:
        """Write the end of an attempt; where that is not possible the lease runs out and another goes on."""
        await run.log.flush()
        try:
            async with asyncio.timeout(self.settings.lease_seconds):
                await run.write(change)
        except (LeaseLost, TimeoutError) as error:
            observe.log().warning("end of the attempt not written", task=run.task.id, error=repr(error))


async def _execute(run: TaskRun, job: Job) -> None:
    if run.task.cancel_requested:
        await run.write(lambda work: _cancel(run, job, work))
        return
    if run.task.lost >= MAX_ATTEMPTS:
        raise TaskFailed("ProcessLost", f"{run.task.lost} attempts since the last checkpoint ended without a word")
    await asyncio.to_thread(run.folder.mkdir)
    await job.execute(run)
    if not is_final(run.task.state):
        raise RuntimeError(f"the job {job.kind} ended without a result")


async def _cancel(run: TaskRun, job: Job, work: Work[Any]) -> None:
    run.task = await store.set_state(work.tx, run.task, TaskState.CANCELLED, note="cancelled")
    tell(work, run.task)
    await job.on_cancelled(run.task, work)


async def _fail(run: TaskRun, job: Job, work: Work[Any], error: BaseException) -> None:
    failure = failure_of(run, error)
    run.task = await store.keep_failure(work.tx, run.task, failure)
    facts = (failure.error_class, failure.message)
    run.task = await store.set_state(work.tx, run.task, TaskState.FAILED, error=facts)
    tell(work, run.task)
    await job.on_failed(run.task, work)


def _tell_lost(run: TaskRun) -> None:
    observe.log().warning("lease lost", task=run.task.id, fence=run.task.fence)


def _error_of(ended: "asyncio.Task[None]") -> BaseException | None:
    return ProcessLost("the job was cancelled from within") if ended.cancelled() else ended.exception()


async def _stop(task: "asyncio.Task[Any]") -> None:
    """End a task, and again where a library that it waited in has swallowed the cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_AGAIN_SECONDS)
    if not task.cancelled() and (error := task.exception()):
        observe.log().debug("stopped in an error", error=repr(error))
