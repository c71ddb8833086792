"""The requests about tasks, answered alike by every service that runs them."""

from typing import Any, Protocol

from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.tasks import CancelTask, GetTask, GetTaskMetrics, MetricPoints, TaskView
from shared.tasks import store
from shared.tasks.run import tell
from shared.tasks.runner import TaskRunner
from shared.work import Work


class RunsTasks(Protocol):
    """The parts of a service with tasks."""

    @property
    def runner(self) -> TaskRunner: ...


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


async def get_task_metrics(request: GetTaskMetrics, work: Work[RunsTasks]) -> MetricPoints:
    task = await store.find(work.tx, work.project, request.task_id)
    return MetricPoints(points=await store.metrics(work.tx, task))


TASK_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetTask: get_task,
    CancelTask: cancel_task,
    GetTaskMetrics: get_task_metrics,
}
