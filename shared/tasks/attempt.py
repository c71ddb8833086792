"""One attempt of a task: its job runs under a lease that a heartbeat prolongs, and its end is written as it came."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from shared import failpoints, observe, outbox
from shared.ending import PROCESS_SECONDS, end
from shared.errors import AimassError, LeaseLost
from shared.events.common import TaskState
from shared.tasks import store
from shared.tasks.failure import failure_of
from shared.tasks.process import OUT_OF_MEMORY, ProcessLost
from shared.tasks.run import TIMED_OUT, Job, TaskFailed, TaskRun, tell
from shared.tasks.state import is_final
from shared.tasks.terms import Cause
from shared.work import Work

if TYPE_CHECKING:
    from shared.tasks.runner import TaskRunner

BEAT_SECONDS = 1.0
TELL_SECONDS = 5.0
REST_SECONDS = 3.0
MAX_REST_SECONDS = 10.0
FINISH_SECONDS = 10.0
CAUSES = {OUT_OF_MEMORY: Cause.OUT_OF_MEMORY, TIMED_OUT: Cause.TIMED_OUT}


class Stopped(Enum):
    """Why a heartbeat ended the attempt."""

    CANCELLED = auto()
    PAUSED = auto()
    LOST = auto()


class Attempt:
    """A claimed task on its way to its end, or until it is not ours any more."""

    def __init__(self, run: TaskRun, job: Job, runner: "TaskRunner") -> None:
        self._run, self._job, self._runner = run, job, runner
        self._lease_seconds = runner.settings.lease_seconds

    async def attend(self) -> None:
        executing = asyncio.create_task(self._execute())
        beating = asyncio.create_task(self._beat())
        try:
            await asyncio.wait({executing, beating}, return_when=asyncio.FIRST_COMPLETED)
            if is_final(self._run.task.state):
                await asyncio.wait({executing}, timeout=FINISH_SECONDS)
            if executing.done():
                await self._conclude(_error_of(executing))
            elif not is_final(self._run.task.state):
                await _stop(executing)
                await self._stopped(beating.result())
        except asyncio.CancelledError:
            await _stop(executing)
            await self._close(lambda work: self._give_back(work, "the service stops", 0))
            raise
        finally:
            await _stop(executing)
            await _stop(beating)

    async def _execute(self) -> None:
        run = self._run
        if run.task.cancel_requested or run.task.pause_requested:
            await run.write(self._stop_as_asked)
            return
        if run.task.lost > run.task.terms.retries.lost:
            raise TaskFailed("ProcessLost", f"{run.task.lost} attempts since the last checkpoint ended without a word")
        await asyncio.to_thread(run.folder.mkdir)
        await self._execute_in_time()
        if not is_final(run.task.state):
            raise RuntimeError(f"the job {self._job.kind} ended without a result")

    async def _execute_in_time(self) -> None:
        seconds = self._run.task.terms.limits.seconds
        try:
            async with asyncio.timeout(seconds) as deadline:
                await self._job.execute(self._run)
        except TimeoutError:
            if deadline.expired():
                message = f"an attempt may take {seconds:g} s: give it more by limits.seconds"
                raise TaskFailed(TIMED_OUT, message) from None
            raise

    async def _beat(self) -> Stopped:
        """Hold the lease until the task shall stop, or the lease is lost."""
        held = told = time.monotonic()
        while time.monotonic() - held < self._lease_seconds:
            await asyncio.sleep(min(BEAT_SECONDS, self._lease_seconds / 4))
            now = time.monotonic()
            try:
                await self._renew(aloud := now - told > TELL_SECONDS)
                held, told = now, now if aloud else told
            except LeaseLost:
                return Stopped.LOST
            except Exception as error:
                observe.log().warning("heartbeat failed", task=self._run.task.id, error=repr(error))
            if self._run.task.cancel_requested or self._run.task.pause_requested:
                return Stopped.CANCELLED if self._run.task.cancel_requested else Stopped.PAUSED
        return Stopped.LOST

    async def _renew(self, aloud: bool) -> None:
        """Prolong the lease and note the progress; say it too where it moved since it was said last."""
        run = self._run
        reached, before = run.reached, run.task
        async with asyncio.timeout(max(1.0, self._lease_seconds / 2)), self._runner.database.transaction() as tx:
            run.task = await store.renew(tx, run.task, self._lease_seconds, reached)
            if aloud:
                await outbox.write(tx, [run.task.changed()], run.context, self._runner.service)
        failpoints.reach("committed", "renewal")
        if (reached.fraction, reached.message) != (before.progress, before.note):
            run.log.tell("progress", **reached.model_dump(exclude={"type"}))

    async def _stopped(self, why: Stopped) -> None:
        """The heartbeat ended the attempt."""
        if why is Stopped.LOST:
            self._tell_lost()
        else:
            await self._close(self._stop_as_asked)

    async def _conclude(self, error: BaseException | None) -> None:
        """The job ended by itself."""
        if isinstance(error, LeaseLost):
            self._tell_lost()
        if error is None or isinstance(error, LeaseLost):
            return
        if isinstance(error, AimassError) and error.transient and not isinstance(error, ProcessLost):
            await self._close(lambda work: self._give_back(work, f"goes on after: {error.message}", REST_SECONDS))
        else:
            await self._close(lambda work: self._after(error, _cause_of(error), work))

    async def _after(self, error: BaseException, cause: Cause, work: Work[None]) -> None:
        """Another attempt where the terms allow one after this cause; the lost are counted when the next one begins."""
        run, task = self._run, self._run.task
        tried, most = task.retried.get(cause, 0), task.terms.retries.after(cause)
        if cause is not Cause.LOST and tried >= most:
            observe.log().error("task failed", task=task.id, exc_info=error)
            await _fail(run, self._job, work, error)
            return
        if cause is Cause.LOST:
            tried = task.lost
        rest = min(MAX_REST_SECONDS, 0.5 * 2**tried)
        failure = failure_of(run, error)
        run.task = await store.keep_failure(work.tx, task, failure)
        await self._give_back(work, f"goes on after: {failure.message}", rest, cause)

    async def _give_back(self, work: Work[None], why: str, rest_seconds: float, cause: Cause | None = None) -> None:
        run = self._run
        observe.log().warning("task goes on later", task=run.task.id, why=why, seconds=rest_seconds)
        if run.task.cancel_requested or run.task.pause_requested:
            await self._stop_as_asked(work)
            return
        run.task = await store.release(work.tx, run.task, why, rest_seconds, cause)
        tell(work, run.task)

    async def _stop_as_asked(self, work: Work[Any]) -> None:
        run = self._run
        to, note = (TaskState.CANCELLED, "cancelled") if run.task.cancel_requested else (TaskState.PAUSED, "paused")
        run.task = await store.set_state(work.tx, run.task, to, note=note)
        tell(work, run.task)
        await (self._job.on_cancelled if to is TaskState.CANCELLED else self._job.on_paused)(run.task, work)

    async def _close(self, change: Callable[[Work[None]], Awaitable[None]]) -> None:
        """Write the end of an attempt; where that is not possible the lease runs out and another goes on."""
        await self._run.log.flush()
        try:
            async with asyncio.timeout(self._lease_seconds):
                await self._run.write(change)
        except (LeaseLost, TimeoutError) as error:
            observe.log().warning("end of the attempt not written", task=self._run.task.id, error=repr(error))

    def _tell_lost(self) -> None:
        observe.log().warning("lease lost", task=self._run.task.id, fence=self._run.task.fence)


async def _fail(run: TaskRun, job: Job, work: Work[Any], error: BaseException) -> None:
    failure = failure_of(run, error)
    run.task = await store.keep_failure(work.tx, run.task, failure)
    facts = (failure.error_class, failure.message)
    run.task = await store.set_state(work.tx, run.task, TaskState.FAILED, error=facts)
    tell(work, run.task)
    await job.on_failed(run.task, work)


def _cause_of(error: BaseException) -> Cause:
    if isinstance(error, ProcessLost):
        return Cause.LOST
    return CAUSES.get(getattr(error, "error_class", ""), Cause.FAILED)


def _error_of(ended: "asyncio.Task[None]") -> BaseException | None:
    return ProcessLost("the job was cancelled from within") if ended.cancelled() else ended.exception()


async def _stop(task: "asyncio.Task[Any]") -> None:
    await end([task], PROCESS_SECONDS)
    if not task.cancelled() and (error := task.exception()):
        observe.log().debug("stopped in an error", error=repr(error))
