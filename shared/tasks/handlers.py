"""The requests about tasks, answered alike by every service that runs them."""

from typing import Any

from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.tasks import CancelTask, GetTask, GetTaskMetrics, MetricPoints, TaskView, owner_of
from shared.tasks import store
from shared.work import Work


async def get_task(request: GetTask, work: Work[Any]) -> TaskView:
    return (await store.find(work.tx, work.project, request.task_id)).view()


async def cancel_task(request: CancelTask, work: Work[Any]) -> TaskView:
    task = await store.find(work.tx, work.project, request.task_id, lock=True)
    task = await store.request_cancel(work.tx, task)
    work.say(task.changed(owner_of(task.id)))
    return task.view()


async def get_task_metrics(request: GetTaskMetrics, work: Work[Any]) -> MetricPoints:
    task = await store.find(work.tx, work.project, request.task_id)
    return MetricPoints(points=await store.metrics(work.tx, task))


TASK_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetTask: get_task,
    CancelTask: cancel_task,
    GetTaskMetrics: get_task_metrics,
}
