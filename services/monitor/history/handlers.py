"""The request for pages of the log."""

from typing import Any

from services.monitor.history import store
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.monitor import ListEvents, Timeline
from shared.work import Work


async def list_events(request: ListEvents, work: Work[Any]) -> Timeline:
    request.selection.check()
    shown, more = await store.page(work.tx, work.project, request)
    return Timeline(
        correlation_id=request.selection.correlation_id,
        events=shown,
        truncated=more,
        next=shown[-1].position if more else None,
    )


HISTORY_RPC: dict[type[Request[Any]], RpcHandler] = {ListEvents: list_events}
