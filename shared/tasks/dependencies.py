"""What tasks wait for: each other one must have succeeded; where one did not, those that wait for it fail."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shared.context import Context
from shared.errors import InvalidInput, NotFound
from shared.events.common import TaskState
from shared.looking import keep_looking
from shared.rpc.tasks import GetTask, TaskView, owner_of
from shared.tasks import queue, store
from shared.tasks.run import tell
from shared.tasks.state import short
from shared.tasks.store import Task
from shared.work import Work

if TYPE_CHECKING:
    from shared.tasks.runner import TaskRunner

LOOK_SECONDS = 1.0
SUCCEEDED = short(TaskState.SUCCEEDED)
WORDS = {short(TaskState.FAILED): "has failed", short(TaskState.CANCELLED): "was cancelled"}
ENDED_BADLY = frozenset(WORDS)


class Dependencies:
    """Looks again and again at what the tasks of a service wait for; that is right whatever events are late."""

    def __init__(self, runner: "TaskRunner", service: str) -> None:
        self._runner, self._service = runner, service

    async def run(self) -> None:
        """Look for ever; what cannot be looked up now is looked up later."""
        await keep_looking("tasks that wait for others", self.settle, LOOK_SECONDS)

    async def settle(self) -> bool:
        """Let tasks run whose others have succeeded, and fail those of which one cannot any more."""
        async with self._runner.database.connection() as connection:
            waiting = await queue.held_up(connection, self._runner.kinds)
        for task in waiting:
            await self._settle(task)
        return False

    async def _settle(self, task: Task) -> None:
        found = {other: await self.state(task.origin, other) for other in task.waits_for}
        left = [other for other, state in found.items() if state != SUCCEEDED]
        bad = [other for other in left if found[other] in ENDED_BADLY or not found[other]]
        if len(left) == len(found) and not bad:
            return
        async with self._runner.relay.work(task.origin) as work:
            held = await store.find(work.tx, task.project, task.id, lock=True)
            if held.state is not TaskState.QUEUED:
                return
            if bad:
                await self._fail(held, bad[0], found[bad[0]], work)
            else:
                tell(work, await queue.wait_for(work.tx, held, left))
        await self._runner.wake()

    async def state(self, context: Context, other: str) -> str:
        """A task's state; nothing where there is no such task in the project."""
        try:
            return (await self._view(context, other)).state
        except NotFound:
            return ""

    async def _view(self, context: Context, other: str) -> TaskView:
        if owner_of(other) != self._service:
            return await self._runner.bus.ask(GetTask(task_id=other), context, service=owner_of(other))
        async with self._runner.database.connection() as connection:
            return (await store.find(connection, context.project, other)).view()

    async def _fail(self, task: Task, other: str, state: str, work: Work[None]) -> None:
        message = f"task {other}, which this one waited for, {_words(state)}"
        failed = await store.set_state(work.tx, task, TaskState.FAILED, error=("DependencyFailed", message))
        tell(work, failed)
        await self._runner.job(task.kind).on_failed(failed, work)


async def check(work: Work[Any], names: Iterable[str]) -> None:
    """Raises InvalidInput for a task that is not there, or that cannot succeed any more."""
    for name in names:
        state = await work.parts.runner.dependencies.state(work.context, name)
        if not state or state in ENDED_BADLY:
            raise InvalidInput(f"after: task {name} {_words(state)}", field="after")


def _words(state: str) -> str:
    return WORDS.get(state, "is not there")
