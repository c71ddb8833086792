"""The requests about tasks, answered alike by every service that runs them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.errors import Conflict
from shared.handlers import RpcHandler
from shared.rpc.base import Request, Written
from shared.rpc.curves import (
    CurvesView,
    ExportedTask,
    ExportTask,
    GetTaskCurves,
    GetTaskRecord,
    ListTaskRecords,
    RecordContent,
    RecordList,
)
from shared.rpc.tasks import (
    CancelTask,
    GetTask,
    GetTaskMetrics,
    NoteTask,
    PauseTask,
    ResumeTask,
    TaskView,
)
from shared.series import records
from shared.series.curves import curves_of
from shared.series.export import exported
from shared.tasks import store
from shared.tasks.run import RunsTasks, tell
from shared.work import Work

if TYPE_CHECKING:
    from shared.tasks.runner import TaskRunner


async def get_task(request: GetTask, work: Work[RunsTasks]) -> TaskView:
    return (await store.find(work.tx, work.project, request.task_id)).view()


async def cancel_task(request: CancelTask, work: Work[RunsTasks]) -> TaskView:
    return (await cancel(work, work.parts.runner, request.task_id)).view()


async def cancel(work: Work[Any], runner: "TaskRunner", task_id: str) -> store.Task:
    """Ask a running task to end, which takes seconds; end a waiting one here and now."""
    before = await store.find(work.tx, work.project, task_id, lock=True)
    task = await store.request_cancel(work.tx, before)
    if task.state is not before.state:
        tell(work, task)
        await runner.job(task.kind).on_cancelled(task, work)
    return task


async def pause_task(request: PauseTask, work: Work[RunsTasks]) -> TaskView:
    """Ask a running task to rest, which takes seconds; a waiting one rests here and now."""
    before = await store.find(work.tx, work.project, request.task_id, lock=True)
    if not work.parts.runner.job(before.kind).can_pause:
        raise Conflict(f"a task of kind {before.kind} is done by another program, which cannot be paused")
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


async def get_task_metrics(request: GetTaskMetrics, work: Work[RunsTasks]) -> Written:
    task = await store.find(work.tx, work.project, request.task_id)
    return Written(json_text=await store.metrics(work.tx, task))


async def get_task_curves(request: GetTaskCurves, work: Work[RunsTasks]) -> CurvesView:
    task = await store.find(work.tx, work.project, request.task_id)
    return await curves_of(work.tx, task.id, request)


async def list_task_records(request: ListTaskRecords, work: Work[RunsTasks]) -> RecordList:
    task = await store.find(work.tx, work.project, request.task_id)
    return RecordList(records=await records.listed(work.tx, task.id, request.name, request.kind))


async def get_task_record(request: GetTaskRecord, work: Work[RunsTasks]) -> RecordContent:
    task = await store.find(work.tx, work.project, request.task_id)
    return await records.find(work.tx, task.id, request.name, request.step)


async def export_task(request: ExportTask, work: Work[RunsTasks]) -> ExportedTask:
    task = await store.find(work.tx, work.project, request.task_id)
    return await exported(work.tx, task.id, request, work.parts.runner.artifacts)


TASK_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetTask: get_task,
    CancelTask: cancel_task,
    PauseTask: pause_task,
    ResumeTask: resume_task,
    NoteTask: note_task,
    GetTaskMetrics: get_task_metrics,
    GetTaskCurves: get_task_curves,
    ExportTask: export_task,
    ListTaskRecords: list_task_records,
    GetTaskRecord: get_task_record,
}
