"""As of a time: what a list was then, as far back as every change of it is kept."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from shared.db import Connection
from shared.errors import InvalidInput
from shared.moments import Moment

AsOf = Annotated[Moment | None, Field(description="show what was at this time, such as 2030-01-31T12:00:00Z")]
# Since when the history of rows is whole.
EDGE = "SELECT greatest(edge, now() - interval '30 days') FROM history_edge"
# The rows of a table as they were; the name of the table means these from then on.
THEN = """{table} AS (
    SELECT r.* FROM history h, jsonb_populate_record(NULL::{table}, h.record) r
    WHERE h.relation = '{table}' AND h.project = $1 AND h.since <= ${place} AND h.until > ${place}
)"""
CLOCKS_DIFFER = timedelta(minutes=1)


def check_kept(as_of: datetime, edge: datetime) -> None:
    """Raises InvalidInput for a time before the oldest change that is kept, and for one that has not come."""
    if as_of < edge:
        begins = edge.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        raise InvalidInput(f"as_of: what was before {begins} is not kept; ask for a later time", field="as_of")
    if as_of > datetime.now(UTC) + CLOCKS_DIFFER:
        raise InvalidInput("as_of: a time that has passed", field="as_of")


async def check_history(tx: Connection, as_of: datetime) -> None:
    """For a service that keeps the history of its own rows: raises what check_kept raises."""
    check_kept(as_of, await tx.fetchval(EDGE))


def as_they_were(place: int, *tables: str) -> str:
    """The beginning of a query that shall read these tables as they were at the time in this place, of project $1."""
    return "WITH " + ", ".join(THEN.format(table=table, place=place) for table in tables)
