"""Use, prices and quotas: what was used, what it costs, and what may be used."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header, Query, Response
from pydantic import BaseModel, ConfigDict

from services.gateway.access import authorise, authorise_platform
from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.moments import Day
from shared.names import ModelName, Slug
from shared.permissions import Permission
from shared.rpc.usage import (
    Column,
    GetInvoice,
    GetUsage,
    Invoice,
    Limits,
    ListPrices,
    ListQuotas,
    Month,
    PriceList,
    PriceLists,
    QuotaList,
    SetPrices,
    SetQuotas,
    UsageList,
    UsageRow,
)

ROUTES = Routes("usage")
CSV = "text/csv"
FIGURES = ("requests", "errors", "compute_seconds", "input_bytes", "output_bytes", "byte_hours")
From = Annotated[Day | None, Query(alias="from", description="first day, UTC; without it the first of the month")]
To = Annotated[Day | None, Query(description="last day, UTC; without it today")]
Group = Annotated[list[Column], Query(description="columns to add up by, in this order")]
Of = Annotated[str, Query(pattern=r"^([a-z0-9_-]{1,64}|\*)?$", description="another project, or * for all")]
OfOne = Annotated[str, Query(pattern=r"^[a-z0-9_-]{0,64}$", description="another project than the caller's")]
Identity = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Kind = Annotated[str | None, Query(pattern=r"^[a-z_-]{1,64}$")]


class QuotaLimits(BaseModel):
    """All limits of a project."""

    model_config = ConfigDict(extra="forbid")
    project: Slug
    limits: Limits


def _project(caller: Caller, project: str) -> str:
    """The project to ask about: that of others is for who manages the platform, as what is declared `platform` is."""
    if not project or project == caller.project:
        return caller.project
    authorise(caller.principal, Permission.QUOTAS_MANAGE)
    authorise_platform(caller.principal)
    return project


@ROUTES.add("GET", "/usage", Permission.USAGE_READ, responses={200: {"content": {CSV: {}}}})
async def show_usage(
    caller: CallerOf,
    since: From = None,
    to: To = None,
    group: Group = ["day", "kind", "model"],  # noqa: B006
    project: Of = "",
    kind: Kind = None,
    model: ModelName | None = None,
    identity: Identity = None,
    accept: Annotated[str, Header()] = "",
) -> Any:
    """What was used, added up by project, identity (an API key or a user), model, day or kind.

    Kinds are `infer`, `api` and those of tasks. With `Accept: text/csv` the answer is a table.
    """
    today = datetime.now(UTC).date()
    asked = GetUsage(
        of=_project(caller, project),
        since=since or (to or today).replace(day=1),
        until=to or today,
        group=tuple(dict.fromkeys(group)),
        kind=kind,
        model=model,
        identity=identity,
    )
    found = await caller.ask(asked)
    return _table(found, asked.group) if accept.startswith(CSV) else found


@ROUTES.add(
    "GET", "/usage.csv", Permission.USAGE_READ, response_class=Response, responses={200: {"content": {CSV: {}}}}
)
async def export_usage(
    caller: CallerOf,
    since: From = None,
    to: To = None,
    group: Group = ["day", "kind", "model"],  # noqa: B006
    project: Of = "",
) -> Response:
    """The same as a table of comma-separated values."""
    found = await show_usage(caller, since, to, group, project)
    return _table(found, tuple(dict.fromkeys(group)))


def _table(found: UsageList, group: tuple[Column, ...]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow((*group, *FIGURES))
    writer.writerows([_cell(row, name) for name in (*group, *FIGURES)] for row in found.rows)
    name = f"usage-{found.since}-{found.until}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Truncated": str(found.truncated).lower()}
    return Response(text.getvalue(), media_type=CSV, headers=headers)


def _cell(row: UsageRow, name: str) -> str:
    """Nothing that a spreadsheet would take for a formula: names begin otherwise."""
    value = getattr(row, name)
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


@ROUTES.add("GET", "/usage/invoice", Permission.USAGE_READ)
async def preview_invoice(
    caller: CallerOf, month: Annotated[Month | None, Query()] = None, project: OfOne = ""
) -> Invoice:
    """What a month costs so far, by the prices of each day; without a month, this one."""
    this = f"{datetime.now(UTC):%Y-%m}"
    return await caller.ask(GetInvoice(of=_project(caller, project), month=month or this))


@ROUTES.add("GET", "/prices", Permission.USAGE_READ)
async def list_prices(caller: CallerOf) -> PriceLists:
    """All price lists, each from a day on, the newest first; amounts are decimals as texts."""
    return await caller.ask(ListPrices())


@ROUTES.add("PUT", "/prices", Permission.PRICES_MANAGE, platform=True)
async def set_prices(body: SetPrices, caller: CallerOf, idempotency_key: IdempotencyKey = "") -> PriceList:
    """Let units cost this from today or a later day on, for all projects."""
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("GET", "/quotas", Permission.USAGE_READ)
async def list_quotas(caller: CallerOf, project: OfOne = "") -> QuotaList:
    """What a project may use, what it has used of it, and when that begins anew."""
    return await caller.ask(ListQuotas(of=_project(caller, project)))


@ROUTES.add("PUT", "/quotas", Permission.QUOTAS_MANAGE, platform=True)
async def set_quotas(body: QuotaLimits, caller: CallerOf) -> QuotaList:
    """Let a project use this much from now on; what is not named is not limited."""
    return await caller.ask(SetQuotas(of=body.project, limits=body.limits))
