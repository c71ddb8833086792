"""Requests about what was used, what it costs and what may be used, which monitor answers."""

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from shared.names import ModelName, Slug
from shared.rpc.base import Reply, Reply_co, Request

Column = Literal["project", "identity", "model", "day", "kind"]
Unit = Literal[
    "infer_request",
    "infer_second",
    "infer_input_gigabyte",
    "infer_output_gigabyte",
    "api_request",
    "training_minute",
    "task_second",
    "storage_gigabyte_hour",
]
Quota = Literal[
    "requests_per_day",
    "requests_per_month",
    "compute_seconds_per_day",
    "compute_seconds_per_month",
    "training_minutes_per_month",
    "concurrent_tasks",
    "storage_bytes",
]
Exact = Annotated[Decimal, PlainSerializer(lambda number: f"{number:f}", return_type=str, when_used="json")]
Price = Annotated[Exact, Field(ge=0, le=10**9, max_digits=28, decimal_places=12, allow_inf_nan=False)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Amount = Annotated[int, Field(ge=0, le=2**62, strict=True)]
MOST_ROWS = 5000


class Asked(Request[Reply_co]):
    """A request that monitor answers, whatever this module's name."""

    @classmethod
    def service(cls) -> str:
        return "monitor"


class UsageRow(Reply):
    """What was used; columns that were not asked for are missing. Times are exact to the microsecond.

    `requests` counts attempts of tasks, for kinds that are tasks.
    """

    project: str | None = None
    identity: str | None = None
    model: str | None = None
    day: date | None = None
    kind: str | None = None
    requests: int = 0
    errors: int = 0
    compute_seconds: Exact = Decimal(0)
    input_bytes: int = 0
    output_bytes: int = 0
    byte_hours: int = 0


class UsageList(Reply):
    """What was used from a day to a day, both included, in UTC; truncated where there are more rows than shown."""

    since: date
    until: date
    rows: list[UsageRow] = []
    truncated: bool = False


class GetUsage(Asked[UsageList]):
    """Add up what was used; `of` is a project, or * for all."""

    of: str = Field(default="", pattern=r"^([a-z0-9_-]{1,64}|\*)?$")
    since: date
    until: date
    group: tuple[Column, ...] = ("day", "kind", "model")
    kind: str | None = Field(default=None, max_length=64)
    model: ModelName | None = None
    identity: str | None = Field(default=None, max_length=200)


class PriceList(Reply):
    """Prices of units from a day on."""

    valid_from: date
    currency: str
    prices: dict[Unit, Price]
    actor: str = ""


class PriceLists(Reply):
    """All price lists, the newest first."""

    lists: list[PriceList] = []


class ListPrices(Asked[PriceLists]):
    """Show what units cost, and did."""


class SetPrices(Asked[PriceList]):
    """Let units cost this from a day on, which is today or later: what was used is not priced anew."""

    idempotent: ClassVar[bool] = True
    valid_from: date
    currency: Currency
    prices: dict[Unit, Price]


class InvoiceLine(Reply):
    """A unit at one price: quantity, price and their product, exact."""

    unit: str
    quantity: Exact
    price: Exact
    amount: Exact
    since: date
    until: date


class Invoice(Reply):
    """What a project's month costs so far; the total is rounded half up to hundredths, once."""

    project: str
    month: str
    currency: str = ""
    lines: list[InvoiceLine] = []
    total: Exact = Decimal(0)


class GetInvoice(Asked[Invoice]):
    """Preview a month's invoice."""

    of: str = Field(default="", pattern=r"^[a-z0-9_-]{0,64}$")
    month: Month


class Limit(BaseModel):
    """What a project may use of one thing: soft tells early, hard refuses."""

    model_config = ConfigDict(extra="forbid")
    quota: Quota
    soft: Amount | None = None
    hard: Amount | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Limit":
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            raise ValueError("soft must not be above hard")
        return self


def _once_each(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    if len({limit.quota for limit in limits}) < len(limits):
        raise ValueError("a quota is named twice")
    return limits


Limits = Annotated[tuple[Limit, ...], Field(max_length=20), AfterValidator(_once_each)]


class QuotaView(Reply):
    """What a project may use, what it has used, and on which day that begins anew."""

    quota: str
    soft: int | None = None
    hard: int | None = None
    used: int = 0
    level: Literal["within", "nearing", "exceeded"] = "within"
    renews_on: date | None = None


class QuotaList(Reply):
    """The quotas of a project; what is not named is not limited."""

    project: str
    quotas: list[QuotaView] = []


class ListQuotas(Asked[QuotaList]):
    """Show what a project may use."""

    of: str = Field(default="", pattern=r"^[a-z0-9_-]{0,64}$")


class SetQuotas(Asked[QuotaList]):
    """Let a project use this much from now on; what is not named is not limited."""

    of: Slug
    limits: Limits = ()


class TaskVerdict(Reply):
    """Whether a project may begin one more task now; if not, why, and what to do."""

    allowed: bool
    reason: str = ""
    retry_after: int | None = None


class CheckTaskQuota(Asked[TaskVerdict]):
    """Ask whether one more task of this kind is within the quotas."""

    kind: Slug
