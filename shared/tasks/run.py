"""A task in the hands of a worker, and the job that says what to do with it."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel

from shared import observe
from shared.artifacts import Artifacts
from shared.context import Context
from shared.errors import AimassError, Unavailable
from shared.events.common import TaskState
from shared.rpc.base import Request
from shared.series.processes import ProcessSampler
from shared.series.writer import SeriesWriter
from shared.settings import TaskSettings
from shared.streams import log_subject
from shared.tasks import store
from shared.tasks.crew import Crew
from shared.tasks.grounds import Spec, Start
from shared.tasks.log import TaskLog, entry
from shared.tasks.process import OUT_OF_MEMORY, Limit, LogLine, ProcessLost, TaskProcess, Unreadable, task_process
from shared.tasks.state import short
from shared.tasks.store import Task
from shared.tasks.terms import Terms
from shared.work import Work
from shared.worker import (
    Checkpoint,
    Failure,
    Insights,
    Kept,
    Lost,
    Meeting,
    Metrics,
    Points,
    Progress,
    Record,
    Result,
    Seat,
)

if TYPE_CHECKING:
    from shared.tasks.runner import TaskRunner

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.3
TIMED_OUT = "TimedOut"
Answer = TypeVar("Answer", bound=BaseModel)
Change = Callable[[Work[None]], Awaitable[None]]
OnReport = Callable[[Metrics | Checkpoint | Insights | Kept], Awaitable[None]]


class TaskFailed(AimassError):
    """The task failed."""

    code = "task_failed"

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


def tell(work: Work[Any], task: Task) -> None:
    """Say what a task is now, to all and in its log."""
    work.say(task.changed())
    line = short(task.state) if not task.error_class else f"{short(task.state)}: {task.error_class}"
    note = task.error_message or task.note
    body = entry(task, "state", state=short(task.state), line=f"{line}: {note}" if note else line)
    work.send(f"log/{task.id}", log_subject(task.project, task.id), body, {})


async def accept(
    work: Work[Any],
    kind: str,
    model: str,
    spec: dict[str, Any],
    task_id: str = "",
    terms: Terms | None = None,
    parent: str = "",
) -> Task:
    """Accept a task in the transaction at hand."""
    task = await store.insert(work.tx, kind, model, spec, work.context, task_id, terms, parent)
    tell(work, task)
    return task


class TaskRun:
    """A task that this worker holds; everything that it writes names the fencing number."""

    def __init__(self, task: Task, folder: Path, runner: "TaskRunner") -> None:
        self.task, self.folder = task, folder
        self._runner = runner
        self._log = TaskLog(runner.bus, task)
        self.series = SeriesWriter(self)
        self.process: TaskProcess | None = None
        self.reached = Progress(fraction=task.progress, message=task.note)

    @property
    def context(self) -> Context:
        return self.task.origin

    @property
    def artifacts(self) -> Artifacts:
        return self._runner.artifacts

    @property
    def log(self) -> TaskLog:
        return self._log

    @property
    def settings(self) -> TaskSettings:
        return self._runner.settings

    @property
    def threads(self) -> int:
        return self._runner.settings.task_threads

    async def write(self, change: Change) -> None:
        """Make a change in a transaction that commits only while we hold the task; LeaseLost otherwise.

        While the database is away it is tried again: until the lease is lost, which ends the whole attempt.
        """
        while True:
            try:
                async with self._runner.relay.work(self.context) as work:
                    self.task = await store.hold(work.tx, self.task)
                    await change(work)
                return
            except Unavailable as error:
                observe.log().warning("task waits for the database", task=self.task.id, error=error.message)
            await asyncio.sleep(PAUSE_SECONDS)

    async def succeed(self, work: Work[Any], result: dict[str, Any], note: str = "") -> None:
        """End the task well, in the transaction of what it brought about."""
        self.task = await store.set_state(work.tx, self.task, TaskState.SUCCEEDED, result=result, note=note)
        tell(work, self.task)

    async def ask(self, request: "Request[Answer]") -> Answer:
        """Ask another service, and again for a while when it does not answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._runner.bus.ask(request, self.context)
            except AimassError as error:
                if not error.transient or time.monotonic() > deadline:
                    raise
                observe.log().warning("task asks again", task=self.task.id, error=error.message)
            await asyncio.sleep(PAUSE_SECONDS)

    def progress(self, report: Progress) -> None:
        """Say how far the task is; the heartbeat writes the latest word of it."""
        self.reached = report

    def path(self, name: str) -> Path:
        """A file of the work folder, and of nowhere else."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise Unreadable(f"the task's process named a file outside its work folder: {name!r}")
        return path

    async def execute(
        self,
        module: str,
        spec: BaseModel | dict[str, Any],
        on_report: OnReport | None = None,
        *,
        tells_progress: bool = True,
    ) -> Result:
        """Run a module as the task's process to its result.

        Without `tells_progress` it is but a step of the task, so only its messages count.
        Raises TaskFailed with what the process says, ProcessLost when it ends without a word.
        """
        start = self._runner.ground(self.task).start(self.task, module, spec, self.threads)
        async with self._started(start, start.spec) as process:
            self.process = process
            async with self.series.watching(process.pid) if start.is_watched else nullcontext() as sampler:
                seat = getattr(start.spec, "seat", None)
                crew = Crew(seat, partial(self._work, start, sampler)) if seat else None
                first = self._await_result(process, on_report, tells_progress, crew)
                result = await (crew.result(first) if crew else first)
        await self._log.flush()
        return result

    def _started(
        self, start: Start, spec: Spec, log: LogLine | None = None
    ) -> AbstractAsyncContextManager[TaskProcess]:
        limit = Limit(start.memory)
        return task_process(start.module, spec, self.folder, log or self._log.write, self.threads, limit, start.python)

    async def _work(self, start: Start, sampler: ProcessSampler | None, seat: Seat) -> Result:
        """One of several workers but the first, of whom only the end and the output are told."""
        assert isinstance(start.spec, BaseModel)

        async def log(stream: str, line: str) -> None:
            await self._log.write(stream, f"[worker {seat.rank + 1}] {line}")

        async with self._started(start, start.spec.model_copy(update={"seat": seat}), log) as process:
            if sampler:
                sampler.pids.append(process.pid)
            while report := await process.next_report():
                if isinstance(report, Result):
                    return report
                if isinstance(report, Failure | Lost):
                    raise await self._told(process, report)
            raise await self._gone(process, f"worker {seat.rank + 1} of {seat.workers}")

    async def _told(self, process: TaskProcess, report: Failure | Lost) -> AimassError:
        """What a process says that ends badly."""
        if isinstance(report, Failure):
            self.process = process
            await process.ended()
            return TaskFailed(report.error, report.message)
        error = ProcessLost(report.message)
        error.is_hearsay = True
        return error

    async def _gone(self, process: TaskProcess, name: str) -> AimassError:
        """What to say of a process that ended without a word."""
        self.process = process
        ended = await process.ended()
        if process.limit.exceeded:
            return TaskFailed(OUT_OF_MEMORY, str(process.limit))
        return ProcessLost(f"{name} {ended}")

    async def _await_result(
        self, process: TaskProcess, on_report: OnReport | None, tells_progress: bool, crew: Crew | None
    ) -> Result:
        while report := await process.next_report():
            if isinstance(report, Result):
                return report
            if isinstance(report, Failure | Lost):
                raise await self._told(process, report)
            if isinstance(report, Progress):
                self._advance(report, tells_progress)
            elif isinstance(report, Points):
                await self.series.write(report)
            elif isinstance(report, Record):
                await self.series.keep(report)
            elif isinstance(report, Meeting):
                if crew:
                    crew.meet(report)
            elif on_report:
                await on_report(report)
        raise await self._gone(process, "the task's process")

    def _advance(self, report: Progress, tells_progress: bool) -> None:
        """A process that only starts takes nothing away from what was reached."""
        fraction = report.fraction if tells_progress and report.fraction > 0 else self.reached.fraction
        self.progress(report.model_copy(update={"fraction": fraction}))


class RunsTasks(Protocol):
    """The parts of a service with tasks."""

    @property
    def runner(self) -> "TaskRunner": ...


class Job(ABC):
    """What a service does for one kind of task."""

    kind: ClassVar[str]
    can_pause: ClassVar[bool] = True

    @abstractmethod
    async def execute(self, run: TaskRun) -> None:
        """Do the work and end it with run.succeed; what is raised decides whether the task goes on or fails."""

    @abstractmethod
    async def on_failed(self, task: Task, work: Work[Any]) -> None:
        """Say more than TaskChanged when the task failed."""

    @abstractmethod
    async def on_cancelled(self, task: Task, work: Work[Any]) -> None:
        """Say more than TaskChanged when the task was cancelled."""

    async def on_paused(self, task: Task, work: Work[Any]) -> None:  # noqa: B027
        """Do more than pause the task; only few kinds have more to do."""
