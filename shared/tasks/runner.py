"""The runner: asks what it may run of the tasks that wait, claims these, and attends them side by side."""

import asyncio
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from opentelemetry.trace import SpanKind

from shared import failpoints, observe, outbox
from shared.artifacts import Artifacts
from shared.errors import AimassError
from shared.rpc.trainer import AskAdmission, Wish
from shared.service import Service
from shared.settings import TaskSettings
from shared.tasks import queue
from shared.tasks.attempt import Attempt
from shared.tasks.dependencies import Dependencies
from shared.tasks.desk import BusDesk, Desk
from shared.tasks.grounds import Ground, LocalGround
from shared.tasks.run import Job, TaskRun, tell
from shared.tasks.scratch import scratch
from shared.tasks.store import Task
from shared.tasks.terms import HOST_KINDS, Place, Resources
from shared.work import Work

POLL_SECONDS = 0.5
RENEWALS_PER_LEASE = 5


class TaskRunner:
    """Runs the tasks of one service, `task_workers` at a time and no more than the desk admits."""

    def __init__(self, service: Service, settings: TaskSettings, desk: Desk | None = None) -> None:
        assert service.database is not None and service.relay is not None, "tasks need a database"
        self.settings, self.bus = settings, service.bus
        self.database, self.relay = service.database, service.relay
        self.artifacts = Artifacts(settings.artifacts_url)
        self._desk = desk or BusDesk(service.bus)
        self.service = service.name
        self._owner = f"{service.name}-{settings.task_node}-{os.getpid()}"
        self._jobs: dict[str, Job] = {}
        self._grounds: dict[Place, Ground] = {}
        whole = Resources(cores=settings.task_cores, memory=settings.task_memory, gpus=settings.task_gpus)
        self.add_ground(LocalGround(settings.task_node, whole))
        self.dependencies = Dependencies(self, service.name)
        self._woken = asyncio.Event()
        self._attempts: dict[str, tuple[Wish, asyncio.Task[None]]] = {}
        self._told: set[str] = set()
        self._told_at = 0.0
        self._draining = False

    def add(self, job: Job) -> None:
        self._jobs[job.kind] = job

    def job(self, kind: str) -> Job:
        return self._jobs[kind]

    def add_ground(self, ground: Ground) -> None:
        self._grounds[ground.place] = ground

    def ground(self, task: Task) -> Ground:
        """Where its processes run; a task is admitted only where there is such a place."""
        return self._grounds[task.terms.place]

    @property
    def kinds(self) -> list[str]:
        return list(self._jobs)

    async def wake(self) -> None:
        """A task was committed here: do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled or drained."""
        self._draining = False
        settling = asyncio.create_task(self.dependencies.run())
        with scratch(self.settings.home_dir / "tasks") as folder:
            try:
                while not self._draining:
                    self._woken.clear()
                    if not await self._look(folder):
                        await self._wait()
            finally:
                settling.cancel()
                await self.drain()

    async def drain(self) -> None:
        """Give back what runs here, at once, so that another process goes on with it.

        Told by the service and by the end of `run`: a second cancellation would end an attempt that gives back.
        """
        self._draining = True
        attempts = [attempt for _, attempt in self._attempts.values()]
        for attempt in attempts:
            if not attempt.cancelling():
                attempt.cancel()
        if attempts:
            await asyncio.wait(attempts)
        if self._told:
            with suppress(AimassError):
                await self._ask([])

    async def _look(self, folder: Path) -> bool:
        """Begin what may begin now; whether anything did."""
        try:
            return await self._begin(folder)
        except AimassError as error:
            observe.log().debug("no tasks now", error=error.message)
        except Exception as error:
            observe.log().error("runner failed", exc_info=error)
        return False

    async def _begin(self, folder: Path) -> bool:
        waiting = await self._wishes()
        if not waiting and not self._must_tell():
            return False
        begun = False
        for task_id in await self._ask(waiting):
            if not self._draining and (task := await self._claim(task_id)):
                self._attend(task, folder / f"{task.id}-{task.fence}")
                begun = True
        return begun

    async def _wishes(self) -> list[Wish]:
        found: list[Wish] = []
        async with self.database.connection() as connection:
            for hosts in (False, True):
                kinds = [kind for kind in self._jobs if (kind in HOST_KINDS) is hosts]
                if kinds and (free := self._free(hosts)) > 0:
                    found += await queue.wishes(connection, kinds, free)
        return [wish for wish in found if wish.task_id not in self._attempts]

    def _free(self, hosts: bool) -> int:
        """Tasks that host others have places of their own: they must not take those of what they wait for."""
        return self.settings.task_workers - sum(_is_host(task_id) is hosts for task_id in self._attempts)

    def _placed(self, task_ids: list[str]) -> list[str]:
        """Those for which there are places."""
        found: list[str] = []
        for hosts in (False, True):
            found += [task_id for task_id in task_ids if _is_host(task_id) is hosts][: max(0, self._free(hosts))]
        return found

    def _must_tell(self) -> bool:
        """What we hold is another than the desk knows, or the desk will soon believe that we are gone."""
        renewal = self.settings.lease_seconds / RENEWALS_PER_LEASE
        return self._told != set(self._attempts) or (bool(self._told) and time.monotonic() - self._told_at > renewal)

    async def _ask(self, waiting: list[Wish]) -> list[str]:
        held = [wish for wish, _ in self._attempts.values()]
        admitted: list[str] = []
        for ground in self._grounds.values():
            admitted += await self._ask_for(ground, held, waiting)
        self._told, self._told_at = {wish.task_id for wish in held} | set(admitted), time.monotonic()
        for wish in waiting:
            if wish.place not in self._grounds:
                await self._note([wish.task_id], f"waits: {self.service} has no place '{wish.place}' now")
        return self._placed(admitted)

    async def _ask_for(self, ground: Ground, held: list[Wish], waiting: list[Wish]) -> list[str]:
        """What may begin there; each place is a node of its own, so that its tasks go in turn as well."""
        answer = await self._desk.ask(
            AskAdmission(
                owner=f"{self._owner}/{ground.place}",
                node=ground.node,
                capacity=ground.capacity,
                lease_seconds=self.settings.lease_seconds,
                held=[wish for wish in held if wish.place is ground.place],
                waiting=[wish for wish in waiting if wish.place is ground.place],
            )
        )
        if answer.too_large:
            await self._note(answer.too_large, f"needs more than any node has; this one has {ground.capacity}")
        return answer.admitted

    async def _note(self, task_ids: list[str], note: str) -> None:
        """Say once why such a task waits."""
        async with self.database.transaction() as tx:
            for task in await queue.note(tx, task_ids, note):
                work: Work[None] = Work(tx, task.origin, None)
                tell(work, task)
                await outbox.write(tx, work.said, task.origin, self.service)
        self.relay.wake()

    async def _claim(self, task_id: str) -> Task | None:
        async with self.database.transaction() as tx:
            task = await queue.claim(tx, self.kinds, task_id, self._owner, self.settings.lease_seconds)
            if task is None:
                return None
            work: Work[None] = Work(tx, task.origin, None)
            tell(work, task)
            await outbox.write(tx, work.said, task.origin, self.service)
        failpoints.reach("committed", "claim")
        self.relay.wake()
        return task

    def _attend(self, task: Task, folder: Path) -> None:
        attempt = asyncio.create_task(self._run_attempt(task, folder))
        self._attempts[task.id] = (queue.wish_of(task), attempt)
        attempt.add_done_callback(lambda _: self._ended(task))

    def _ended(self, task: Task) -> None:
        _, attempt = self._attempts.pop(task.id)
        if not attempt.cancelled() and (error := attempt.exception()):
            observe.log().error("worker failed", task=task.id, exc_info=error)
        self._woken.set()

    async def _run_attempt(self, task: Task, folder: Path) -> None:
        run = TaskRun(task, folder, self)
        try:
            with observe.span(f"task {task.kind}", SpanKind.INTERNAL, task.origin.traceparent):
                async with run.log.flowing():
                    await Attempt(run, self._jobs[task.kind], self).attend()
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()


def _is_host(task_id: str) -> bool:
    return task_id.partition("-")[0] in HOST_KINDS
