"""All SQL about quotas and what was last said of them."""

from services.monitor.quotas.domain import Judged, Known
from shared.db import Connection
from shared.events.quotas import QuotaLimit

# One at a time judges a project.
LOCK = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '/quotas'), hashtext($1))"
# The quotas of a project, and what was last said of each.
QUOTAS = """
SELECT q.quota, q.soft, q.hard, coalesce(s.level, 0) AS level, coalesce(s.period, '') AS period, s.refused
FROM quotas q LEFT JOIN quota_states s USING (project, quota) WHERE q.project = $1 ORDER BY q.quota
"""
# The projects that have quotas.
PROJECTS = "SELECT DISTINCT project FROM quotas ORDER BY project"
# No quota of a project, and nothing said.
CLEAR = "DELETE FROM quotas WHERE project = $1"
CLEAR_STATES = """
DELETE FROM quota_states s WHERE project = $1
    AND NOT EXISTS (SELECT FROM quotas q WHERE q.project = s.project AND q.quota = s.quota)
"""
INSERT = "INSERT INTO quotas (project, quota, soft, hard) VALUES ($1, $2, $3, $4)"
# This was said of a quota.
KEEP = """
INSERT INTO quota_states (project, quota, level, period, refused) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, quota) DO UPDATE SET level = excluded.level, period = excluded.period,
    refused = excluded.refused
"""
# The tasks of a project that are not over.
OPEN_TASKS = "SELECT count(*) FROM task_list WHERE project = $1 AND state IN ('queued', 'running', 'paused')"


async def lock(tx: Connection, project: str) -> None:
    await tx.execute(LOCK, project)


async def quotas(tx: Connection, project: str) -> list[Known]:
    return [Known(**dict(row)) for row in await tx.fetch(QUOTAS, project)]


async def projects(tx: Connection) -> list[str]:
    return [row["project"] for row in await tx.fetch(PROJECTS)]


async def replace(tx: Connection, project: str, limits: tuple[QuotaLimit, ...]) -> None:
    """These and no others; what was said of one that stays is still known."""
    await tx.execute(CLEAR, project)
    await tx.executemany(INSERT, [(project, each.quota, each.soft, each.hard) for each in limits])
    await tx.execute(CLEAR_STATES, project)


async def keep(tx: Connection, project: str, judged: list[Judged]) -> None:
    rows = [(project, each.quota, each.level, each.period, each.refused) for each in judged]
    await tx.executemany(KEEP, rows)


async def open_tasks(tx: Connection, project: str) -> int:
    return int(await tx.fetchval(OPEN_TASKS, project))
