"""The requests about quotas."""

from datetime import UTC, datetime
from typing import Any

from services.monitor.quotas import store
from services.monitor.quotas.domain import refuses_task
from services.monitor.quotas.watch import judged_quotas, look
from services.monitor.usage.domain import midnight
from shared.events.quotas import QuotaLimit, QuotasSet
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.usage import CheckTaskQuota, ListQuotas, QuotaList, SetQuotas, TaskVerdict
from shared.work import Work


async def list_quotas(request: ListQuotas, work: Work[Any]) -> QuotaList:
    project = request.of or work.project
    judged = await judged_quotas(work.tx, project, await store.quotas(work.tx, project))
    return QuotaList(project=project, quotas=[each.view() for each in judged])


async def set_quotas(request: SetQuotas, work: Work[Any]) -> QuotaList:
    limits = tuple(QuotaLimit(**limit.model_dump()) for limit in request.limits)
    await store.lock(work.tx, request.of)
    await store.replace(work.tx, request.of, limits)
    work.say(QuotasSet(project=request.of, limits=limits, actor=work.context.actor))
    judged = await look(work, request.of, again=True)
    return QuotaList(project=request.of, quotas=[each.view() for each in judged])


async def check_task_quota(request: CheckTaskQuota, work: Work[Any]) -> TaskVerdict:
    judged = await judged_quotas(work.tx, work.project, await store.quotas(work.tx, work.project))
    found = refuses_task(judged, request.kind)
    if found is None:
        return TaskVerdict(allowed=True)
    left = (midnight(found.renews_on) - datetime.now(UTC)).total_seconds() if found.renews_on else None
    return TaskVerdict(allowed=False, reason=found.told(), retry_after=None if left is None else int(left) + 1)


QUOTA_RPC: dict[type[Request[Any]], RpcHandler] = {
    ListQuotas: list_quotas,
    SetQuotas: set_quotas,
    CheckTaskQuota: check_task_quota,
}
