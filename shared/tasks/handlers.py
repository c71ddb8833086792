"""The requests about tasks, answered alike by every service that runs them."""

from dataclasses import replace
from typing import Any

from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.tasks import (
    CancelTask,
    GetTask,
    GetTaskMetrics,
    MetricPoints,
    NoteTask,
    PauseTask,
    ResumeTask,
    TaskView,
)
from shared.tasks import store
from shared.tasks.run import RunsTasks, tell
from shared.work import Work


async def get_task(request: GetTask, work: Work[RunsTasks]) -> TaskView:
    return (await store.find(work.tx, work.project, request.task_id)).view()


async def cancel_task(request: CancelTask, work: Work[RunsTasks]) -> TaskView:
    """Ask a running task to end, which takes seconds; end a waiting one here and now."""
    before = await store.find(work.tx, work.project, request.task_id, lock=True)
    task = await store.request_cancel(work.tx, before)
    if task.state is not before.state:
        tell(work, task)
        await work.parts.runner.job(task.kind).on_cancelled(task, work)
    return task.view()


async def pause_task(request: PauseTask, work: Work[RunsTasks]) -> TaskView:
    """Ask a running task to rest, which takes seconds; a waiting one rests here and now."""
    before = await store.find(work.tx, work.project, request.task_id, lock=True)
    task = await store.request_pause(work.tx, before)
    if task.state is not before.state:
        tell(work, task)
        await work.parts.runner.job(task.kind).on_paused(task, work)
    return task.view()


async def resume_task(request: ResumeTask, work: Work[RunsTasks]) -> TaskView:
    task = await store.resume(work.tx, await store.find(work.tx, work.project, request.task_id, lock=True))
    tell(work, task)
    work.then(work.parts.runner.wake)
    return task.view()


async def note_task(request: NoteTask, work: Work[RunsTasks]) -> TaskView:
    before = await store.find(work.tx, work.project, request.task_id, lock=True)
    given = request.model_dump(exclude={"task_id"}, exclude_none=True)
    task = await store.note(work.tx, replace(before, **given))
    work.say(task.changed())
    return task.view()


async def get_task_metrics(request: GetTaskMetrics, work: Work[RunsTasks]) -> MetricPoints:
    task = await store.find(work.tx, work.project, request.task_id)
    return MetricPoints(points=await store.metrics(work.tx, task))


TASK_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetTask: get_task,
    CancelTask: cancel_task,
    PauseTask: pause_task,
    ResumeTask: resume_task,
    NoteTask: note_task,
    GetTaskMetrics: get_task_metrics,
}
