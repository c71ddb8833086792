"""All SQL about what was used, what it costs and what may be used."""

from datetime import date, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from services.monitor.usage.domain import DayUse, Row, midnight
from shared.db import Connection
from shared.rpc.usage import MOST_ROWS, GetUsage, PriceList, UsageRow

# The counters of a run only grow: what comes late, twice or again changes nothing.
UPSERT_COUNT = """
INSERT INTO usage_counts AS known (project, day, kind, model, identity, run, requests, errors, compute_us, input_bytes,
    output_bytes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (project, day, kind, model, identity, run) DO UPDATE SET
    requests = greatest(known.requests, excluded.requests), errors = greatest(known.errors, excluded.errors),
    compute_us = greatest(known.compute_us, excluded.compute_us),
    input_bytes = greatest(known.input_bytes, excluded.input_bytes),
    output_bytes = greatest(known.output_bytes, excluded.output_bytes)
"""
# An attempt began at the first word that it runs and ended at the first that it does not, whatever their order.
UPSERT_ATTEMPT = """
INSERT INTO usage_attempts AS known (project, task_id, attempt, kind, model, identity, began_at, seen_at, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (project, task_id, attempt) DO UPDATE SET
    began_at = least(known.began_at, excluded.began_at), seen_at = greatest(known.seen_at, excluded.seen_at),
    ended_at = least(known.ended_at, excluded.ended_at)
"""
# The most of an hour, and its last: what comes late, twice or again changes nothing.
UPSERT_STORAGE = """
INSERT INTO usage_storage AS known (project, hour, seen_at, bytes_most, bytes_last) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (project, hour) DO UPDATE SET
    bytes_most = greatest(known.bytes_most, excluded.bytes_most),
    bytes_last = CASE WHEN (excluded.seen_at, excluded.bytes_last) > (known.seen_at, known.bytes_last)
        THEN excluded.bytes_last ELSE known.bytes_last END,
    seen_at = greatest(known.seen_at, excluded.seen_at)
"""
# What a project keeps, by the last word.
STORED = "SELECT bytes_last FROM usage_storage WHERE project = $1 ORDER BY hour DESC LIMIT 1"
# What was used by day: counters of runs, the parts of attempts of tasks that lie in each day, what was kept by hour.
USED = """
SELECT project, day, kind, model, identity, requests, errors, compute_us, input_bytes, output_bytes,
    0::bigint AS byte_hours
FROM usage_counts WHERE day BETWEEN $1 AND $2 AND ($3 = '*' OR project = $3)
UNION ALL
SELECT project, (hour AT TIME ZONE 'UTC')::date, 'storage', '', '', 0, 0, 0, 0, 0, bytes_most
FROM usage_storage WHERE hour >= $4 AND hour < $5 AND ($3 = '*' OR project = $3)
UNION ALL
SELECT project, days.day::date, kind, model, identity, (began_at >= days.day)::int, 0,
    greatest(0, extract(epoch FROM least(until, days.day + interval '1 day') - greatest(began_at, days.day)) * 1000000
    )::bigint, 0, 0, 0
FROM (
    SELECT *, greatest(began_at, coalesce(ended_at, seen_at)) AS until FROM usage_attempts
    WHERE began_at < $5 AND ($3 = '*' OR project = $3) AND coalesce(ended_at, seen_at) >= $4
) AS attempts
JOIN generate_series($4::timestamptz, $5::timestamptz - interval '1 day', interval '1 day') AS days (day)
    ON began_at < days.day + interval '1 day' AND until >= days.day
"""
# Sums of that by the columns that were asked for.
SUMS = """
SELECT {columns} sum(requests)::bigint AS requests, sum(errors)::bigint AS errors,
    sum(compute_us)::bigint AS compute_us, sum(input_bytes)::bigint AS input_bytes,
    sum(output_bytes)::bigint AS output_bytes, sum(byte_hours)::bigint AS byte_hours
FROM ({used}) AS used
WHERE ($6::text IS NULL OR kind = $6) AND ($7::text IS NULL OR model = $7) AND ($8::text IS NULL OR identity = $8)
{grouping} LIMIT {limit}
"""
# All price lists, the newest first.
PRICES = "SELECT valid_from, currency, prices, actor FROM prices ORDER BY valid_from DESC"
# Put a price list in its place.
PUT_PRICES = """
INSERT INTO prices (valid_from, currency, prices, actor) VALUES ($1, $2, $3, $4)
ON CONFLICT (valid_from) DO UPDATE SET currency = excluded.currency, prices = excluded.prices, actor = excluded.actor,
    set_at = now()
"""


async def upsert_counts(tx: Connection, rows: list[list[Row]]) -> None:
    """In the order of their keys, so that two transactions never wait for each other."""
    await tx.executemany(UPSERT_COUNT, sorted(row for several in rows for row in several))


async def upsert_attempts(tx: Connection, rows: list[Row]) -> None:
    await tx.executemany(UPSERT_ATTEMPT, sorted(rows, key=itemgetter(0, 1, 2)))


async def upsert_storage(tx: Connection, rows: list[Row]) -> None:
    await tx.executemany(UPSERT_STORAGE, sorted(rows))


async def stored(tx: Connection, project: str) -> int:
    return int(await tx.fetchval(STORED, project) or 0)


def _values(project: str, since: date, until: date) -> list[Any]:
    return [since, until, project, midnight(since), midnight(until + timedelta(days=1))]


async def usage(tx: Connection, project: str, asked: GetUsage) -> list[UsageRow]:
    """One row more than an answer has tells that there are more."""
    columns = "".join(f"{column}, " for column in asked.group)
    order = ", ".join(str(place + 1) for place in range(len(asked.group)))
    grouping = f"GROUP BY {order} ORDER BY {order}" if order else ""
    query = SUMS.format(columns=columns, used=USED, grouping=grouping, limit=MOST_ROWS + 1)
    values = _values(project, asked.since, asked.until)
    rows = await tx.fetch(query, *values, asked.kind, asked.model, asked.identity)
    return [_usage_row(dict(row)) for row in rows if row["requests"] is not None]


def _usage_row(row: dict[str, Any]) -> UsageRow:
    seconds = Decimal(row.pop("compute_us")) / 10**6
    return UsageRow(compute_seconds=seconds, **row)


async def day_uses(tx: Connection, project: str, since: date, until: date) -> list[DayUse]:
    query = SUMS.format(columns="day, kind, ", used=USED, grouping="GROUP BY 1, 2 ORDER BY 1, 2", limit="ALL")
    rows = await tx.fetch(query, *_values(project, since, until), None, None, None)
    names = DayUse.__dataclass_fields__
    return [DayUse(**{name: row[name] for name in names}) for row in rows]


async def price_lists(tx: Connection) -> list[PriceList]:
    return [PriceList.model_validate(dict(row)) for row in await tx.fetch(PRICES)]


async def put_prices(tx: Connection, prices: PriceList) -> None:
    told = {unit: str(price) for unit, price in prices.prices.items()}
    await tx.execute(PUT_PRICES, prices.valid_from, prices.currency, told, prices.actor)
