"""What becomes of words about use, and the requests about it."""

from datetime import UTC, datetime
from typing import Any

from services.monitor.usage import store
from services.monitor.usage.domain import (
    attempt_row,
    check_days,
    count_rows,
    invoice_lines,
    month_days,
    storage_row,
    total,
)
from shared.errors import InvalidInput
from shared.events.quotas import PricesSet
from shared.events.storage import StorageHeld
from shared.events.tasks import TaskChanged
from shared.events.usage import UsageCounted
from shared.handlers import RpcHandler
from shared.rpc.base import Request
from shared.rpc.usage import (
    MOST_ROWS,
    GetInvoice,
    GetUsage,
    Invoice,
    ListPrices,
    PriceList,
    PriceLists,
    SetPrices,
    UsageList,
)
from shared.work import Work


async def on_usage_counted(event: UsageCounted, work: Work[Any]) -> None:
    work.together(store.upsert_counts, count_rows(event, work.project))


async def on_storage_held(event: StorageHeld, work: Work[Any]) -> None:
    work.together(store.upsert_storage, storage_row(event))


def count_attempt(event: TaskChanged, work: Work[Any], at: datetime) -> None:
    """A task's attempt uses time as long as it runs."""
    if (row := attempt_row(event, work.project, at)) is not None:
        work.together(store.upsert_attempts, row)


async def get_usage(request: GetUsage, work: Work[Any]) -> UsageList:
    check_days(request.since, request.until)
    found = await store.usage(work.tx, request.of or work.project, request)
    truncated = len(found) > MOST_ROWS
    return UsageList(since=request.since, until=request.until, rows=found[:MOST_ROWS], truncated=truncated)


async def list_prices(request: ListPrices, work: Work[Any]) -> PriceLists:
    return PriceLists(lists=await store.price_lists(work.tx))


async def set_prices(request: SetPrices, work: Work[Any]) -> PriceList:
    if request.valid_from < datetime.now(UTC).date():
        raise InvalidInput("prices begin today or later: what was used is not priced anew", field="valid_from")
    actor = work.context.actor
    prices = PriceList(valid_from=request.valid_from, currency=request.currency, prices=request.prices, actor=actor)
    await store.put_prices(work.tx, prices)
    told = {unit: str(price) for unit, price in prices.prices.items()}
    day = prices.valid_from.isoformat()
    work.say(PricesSet(valid_from=day, currency=prices.currency, prices=told, actor=actor))
    return prices


async def get_invoice(request: GetInvoice, work: Work[Any]) -> Invoice:
    project, days = request.of or work.project, month_days(request.month)
    lists = await store.price_lists(work.tx)
    lines = invoice_lines(await store.day_uses(work.tx, project, *days), lists)
    currency = next((each.currency for each in lists if each.valid_from <= days[1]), "")
    return Invoice(project=project, month=request.month, currency=currency, lines=lines, total=total(lines))


USAGE_RPC: dict[type[Request[Any]], RpcHandler] = {
    GetUsage: get_usage,
    ListPrices: list_prices,
    SetPrices: set_prices,
    GetInvoice: get_invoice,
}
