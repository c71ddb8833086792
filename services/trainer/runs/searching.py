"""Lists that filters and orders are put to: their fields as SQL, what people wrote as values alone."""

from dataclasses import dataclass
from typing import Any

from services.trainer.runs.domain import Condition, Order
from shared.db import Connection
from shared.errors import InvalidInput
from shared.rpc.runs import Search

LISTS = {"IN": "= ANY", "NOT IN": "<> ALL"}


@dataclass(frozen=True)
class Listing:
    """A list: what it selects, and the SQL of the fields that filters and orders may name."""

    select: str
    attributes: dict[str, str]
    columns: dict[str, str]
    lifecycle: str
    default: str


@dataclass(frozen=True)
class Wanted:
    """A search whose filter and order are understood."""

    search: Search
    where: list[Condition]
    by: list[Order]


async def rows(tx: Connection, listing: Listing, given: list[Any], wanted: Wanted) -> list[Any]:
    """One row more than the page holds, where there is one; raises InvalidInput for a field that the list has not."""
    query = _Query(listing, list(given))
    parts = [query.lifecycle(wanted.search.view), *(query.condition(condition) for condition in wanted.where)]
    by = ", ".join([*(query.order(order) for order in wanted.by), listing.default])
    page = (query.value(wanted.search.limit + 1), query.value(wanted.search.offset))
    text = f"{listing.select} AND {' AND '.join(parts)} ORDER BY {by} LIMIT {page[0]} OFFSET {page[1]}"
    return await tx.fetch(text, *query.values)


class _Query:
    def __init__(self, listing: Listing, values: list[Any]) -> None:
        self._listing = listing
        self.values = values

    def value(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def lifecycle(self, view: str) -> str:
        wanted = {"ACTIVE_ONLY": ["active"], "DELETED_ONLY": ["deleted"]}.get(view, ["active", "deleted"])
        return f"{self._listing.lifecycle} = ANY({self.value(wanted)})"

    def condition(self, condition: Condition) -> str:
        field = self._field(condition.field, condition.key)
        if condition.value is None:
            return f"({field}) {condition.op}"
        if condition.op in LISTS:
            return f"({field})::text {LISTS[condition.op]}({self.value(condition.value)}::text[])"
        kind = "text" if isinstance(condition.value, str) else "double precision"
        return f"({field})::{kind} {condition.op} {self.value(condition.value)}::{kind}"

    def order(self, order: Order) -> str:
        return f"{self._field(order.field, order.key)} {'DESC' if order.falls else 'ASC'} NULLS LAST"

    def _field(self, field: str, key: str) -> str:
        known = self._listing.attributes.get(key) if field == "attribute" else self._listing.columns.get(field)
        if known is None:
            raise InvalidInput(f"filter: {field} {key!r} is not known here", field="filter")
        if field == "attribute":
            return known
        held = f"({known} -> {self.value(key)}::text)"
        return f"({held} ->> 'value')::double precision" if field == "metric" else f"({held} #>> '{{}}')"
