"""All SQL of trainer beside that of its tasks."""

from shared.db import Connection

# Note that a command was obeyed; no row comes back when that was so before.
TAKE_REQUEST = """
INSERT INTO requests (project, request_id, task_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING task_id
"""
# Checkpoints and given files of tasks that go on, models of tasks whose end registry may not have heard of yet, and
# those of trials, of which one becomes a version when their study ends.
NAMED_ARTIFACTS = """
SELECT digest FROM (
    SELECT f.digest FROM task_files f JOIN tasks t ON t.id = f.task_id WHERE t.ended_at IS NULL
    UNION SELECT t.spec ->> 'file' FROM tasks t WHERE t.ended_at IS NULL
    UNION SELECT t.result ->> 'digest' FROM tasks t WHERE t.ended_at > now() - interval '7 days'
    UNION SELECT t.result ->> 'digest' FROM tasks t JOIN tasks s ON s.id = t.parent WHERE s.ended_at IS NULL
) AS named WHERE digest > $1 ORDER BY digest LIMIT $2
"""
# The data sets of tasks that go on.
USED_DATASETS = "SELECT DISTINCT spec ->> 'dataset' AS name FROM tasks WHERE ended_at IS NULL"


async def take_request(tx: Connection, project: str, request_id: str, task_id: str) -> bool:
    """Whether this is the first command with this id."""
    return await tx.fetchval(TAKE_REQUEST, project, request_id, task_id) is not None


async def named_artifacts(tx: Connection, after: str, limit: int) -> list[str]:
    return [row["digest"] for row in await tx.fetch(NAMED_ARTIFACTS, after, limit)]


async def used_datasets(tx: Connection) -> list[str]:
    return [row["name"] for row in await tx.fetch(USED_DATASETS)]
