"""What was used, what it costs, and what may be used."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from aimass.calls import Call, call, get
from aimass.methods import method


class UsageRow(TypedDict):
    """What was used; columns that were not asked for are None. `compute_seconds` is a decimal as text.

    `byte_hours` are what was kept, of the kind `storage`.
    """

    project: str | None
    identity: str | None
    model: str | None
    day: str | None
    kind: str | None
    requests: int
    errors: int
    compute_seconds: str
    input_bytes: int
    output_bytes: int
    byte_hours: int


class PriceList(TypedDict):
    """Prices of units from a day on, as decimal texts."""

    valid_from: str
    currency: str
    prices: dict[str, str]
    actor: str


class InvoiceLine(TypedDict):
    """A unit at one price: quantity, price and their product, exact, as texts."""

    unit: str
    quantity: str
    price: str
    amount: str
    since: str
    until: str


class Invoice(TypedDict):
    """What a month costs so far."""

    project: str
    month: str
    currency: str
    lines: list[InvoiceLine]
    total: str


class Quota(TypedDict):
    """What a project may use of one thing, what it has used, how that stands, and when it begins anew."""

    quota: str
    soft: int | None
    hard: int | None
    used: int
    level: str
    renews_on: str | None


class Limit(TypedDict, total=False):
    """What a project may use of one thing: soft tells early, hard refuses."""

    quota: str
    soft: int | None
    hard: int | None


class Usage:
    """What a client can ask about use and its limits; `project` names another one, for administrators."""

    @method
    def usage(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        group: Sequence[str] = ("day", "kind", "model"),
        project: str | None = None,
        kind: str | None = None,
        model: str | None = None,
        identity: str | None = None,
    ) -> Call[list[UsageRow]]:
        """What was used, added up by these columns: project, identity, model, day, kind; days such as 2030-01-31."""
        asked = {"from": since, "to": until, "group": list(group), "project": project}
        return get("usage", asked | {"kind": kind, "model": model, "identity": identity}, take="rows")

    @method
    def invoice(self, month: str | None = None, *, project: str | None = None) -> Call[Invoice]:
        """What a month such as 2030-01 costs so far; without one, this month."""
        return get("usage/invoice", {"month": month, "project": project})

    @method
    def prices(self) -> Call[list[PriceList]]:
        """All price lists, the newest first."""
        return get("prices", take="lists")

    @method
    def set_prices(
        self, valid_from: str, currency: str, prices: Mapping[str, str], *, key: str = ""
    ) -> Call[PriceList]:
        """Let units cost this from a day on, which is today or later; prices are decimals as text."""
        body = {"valid_from": valid_from, "currency": currency, "prices": dict(prices)}
        return call("PUT", "prices", json=body, key=key)

    @method
    def quotas(self, *, project: str | None = None) -> Call[list[Quota]]:
        """What the project may use, and has used."""
        return get("quotas", {"project": project}, take="quotas")

    @method
    def set_quotas(self, project: str, limits: Sequence[Limit]) -> Call[list[Quota]]:
        """Let a project use this much from now on; what is not named is not limited."""
        return call("PUT", "quotas", json={"project": project, "limits": list(limits)}, take="quotas")
