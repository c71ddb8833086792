"""All SQL of batches beside that of their tasks."""

from shared.db import Connection

# The kept files of a role, in the order of their rows.
ANSWERED = "SELECT step, digest FROM task_files WHERE task_id = $1 AND role = $2 ORDER BY step"
# Whether a batch ended so lately that its result is still named.
IS_KEPT = "SELECT ended_at > now() - make_interval(secs => $2 * 86400) FROM tasks WHERE id = $1"
# Whether a version is asked by a batch, or for an index, that has not ended, of whichever project.
IN_USE = """
SELECT EXISTS (
    SELECT FROM tasks WHERE kind IN ('batch', 'index') AND ended_at IS NULL
        AND (project = $1 AND model = $2 OR model = $1 || '.' || $2) AND (spec ->> 'version')::int = $3
)
"""
# Files of batches that go on, and results of those that ended lately.
NAMED_ARTIFACTS = """
SELECT digest FROM (
    SELECT f.digest FROM task_files f JOIN tasks t ON t.id = f.task_id WHERE t.ended_at IS NULL
    UNION SELECT t.spec ->> 'digest' FROM tasks t WHERE t.ended_at IS NULL
    UNION SELECT t.result ->> 'digest' FROM tasks t WHERE t.ended_at > now() - make_interval(secs => $3 * 86400)
) AS named WHERE digest > $1 ORDER BY digest LIMIT $2
"""


async def answered(tx: Connection, task_id: str, role: str) -> dict[int, str]:
    return {row["step"]: row["digest"] for row in await tx.fetch(ANSWERED, task_id, role)}


async def is_kept(tx: Connection, task_id: str, days: float) -> bool:
    return bool(await tx.fetchval(IS_KEPT, task_id, days))


async def in_use(tx: Connection, project: str, model: str, version: int) -> bool:
    return bool(await tx.fetchval(IN_USE, project, model, version))


async def named_artifacts(tx: Connection, after: str, limit: int, days: float) -> list[str]:
    return [row["digest"] for row in await tx.fetch(NAMED_ARTIFACTS, after, limit, days)]
