"""What projects used this month and how their quotas stand, for the operators' page."""

import asyncio
from datetime import UTC, datetime

from services.monitor.quotas import store as quota_store
from services.monitor.quotas.domain import Judged
from services.monitor.quotas.watch import judged_quotas
from services.monitor.usage import store
from services.monitor.usage.domain import month_days
from shared import observe
from shared.db import Connection, Database
from shared.errors import AimassError
from shared.ops.status import Table
from shared.rpc.usage import GetUsage, UsageRow

USE = ["project", "kind", "requests", "errors", "seconds", "bytes in", "bytes out", "byte hours"]
QUOTAS = ["project", "quota", "used", "soft", "hard", "stands", "renews"]
MOST_ROWS = 200


class Board:
    """Looks in a loop and keeps what it saw, so that who looks at the page asks the database nothing."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database, self._seconds = database, seconds
        self._seen: list[Table] = []

    def tables(self) -> list[Table]:
        return self._seen

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except AimassError as error:
                observe.log().warning("use is shown as it was", error=error.message)
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        since, until = month_days(f"{datetime.now(UTC):%Y-%m}")
        async with self._database.connection() as connection:
            asked = GetUsage(of="*", since=since, until=until, group=("project", "kind"))
            used = await store.usage(connection, "*", asked)
            quotas = await _quotas(connection)
        self._seen = [
            Table(title=f"Use by project, {since:%Y-%m}", columns=USE, rows=[_use(row) for row in used[:MOST_ROWS]]),
            Table(title="Quotas by project", columns=QUOTAS, rows=quotas[:MOST_ROWS]),
        ]


async def _quotas(connection: Connection) -> list[list[str | int | float | None]]:
    found: list[list[str | int | float | None]] = []
    for project in (await quota_store.projects(connection))[:MOST_ROWS]:
        known = await quota_store.quotas(connection, project)
        found += [_quota(project, each) for each in await judged_quotas(connection, project, known)]
    return found


def _use(row: UsageRow) -> list[str | int | float | None]:
    figures = (row.requests, row.errors, float(row.compute_seconds), row.input_bytes, row.output_bytes, row.byte_hours)
    return [row.project, row.kind, *figures]


def _quota(project: str, judged: Judged) -> list[str | int | float | None]:
    seen = judged.view()
    return [project, seen.quota, seen.used, seen.soft, seen.hard, seen.level, judged.period or None]
