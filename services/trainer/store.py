"""All SQL of trainer beside that of its tasks."""

from typing import Any

from shared.db import Connection

MOST_INSIGHTS = 100

# Note that a command was obeyed; no row comes back when that was so before.
TAKE_REQUEST = """
INSERT INTO requests (project, request_id, task_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING task_id
"""
# Checkpoints and given files of tasks that go on, models of tasks whose end registry may not have heard of yet, those
# of trials, of which one becomes a version when their study ends, records of all, and the files of runs.
NAMED_ARTIFACTS = """
SELECT digest FROM (
    SELECT f.digest FROM task_files f JOIN tasks t ON t.id = f.task_id WHERE t.ended_at IS NULL
    UNION SELECT f.digest FROM run_files f
    UNION SELECT r.digest FROM task_records r WHERE r.digest IS NOT NULL
    UNION SELECT f.digest FROM task_files f JOIN tasks t ON t.id = f.task_id
        WHERE f.role = 'profile' AND t.ended_at > now() - interval '7 days'
    UNION SELECT t.spec ->> 'file' FROM tasks t WHERE t.ended_at IS NULL
    UNION SELECT t.result ->> 'digest' FROM tasks t WHERE t.ended_at > now() - interval '7 days'
    UNION SELECT t.result ->> 'digest' FROM tasks t JOIN tasks s ON s.id = t.parent WHERE s.ended_at IS NULL
) AS named WHERE digest > $1 ORDER BY digest LIMIT $2
"""
# Keep a look at answers; an epoch that is run again replaces it.
SAVE_INSIGHTS = """
INSERT INTO insights (task_id, epoch, facts) VALUES ($1, $2, $3)
ON CONFLICT (task_id, epoch) DO UPDATE SET facts = excluded.facts, at = now()
"""
# The epochs that were looked at.
INSIGHT_EPOCHS = "SELECT epoch FROM insights WHERE task_id = $1 ORDER BY epoch"
# What was seen after one of them.
INSIGHTS = "SELECT facts FROM insights WHERE task_id = $1 AND epoch = $2"
# Of very many looks only the last are kept.
DROP_INSIGHTS = """
DELETE FROM insights WHERE task_id = $1 AND epoch <= (
    SELECT epoch FROM insights WHERE task_id = $1 ORDER BY epoch DESC OFFSET $2 LIMIT 1
)
"""
# The data sets of tasks, and of steps of pipelines, that go on.
USED_DATASETS = """
SELECT spec ->> 'dataset' AS name FROM tasks WHERE ended_at IS NULL AND spec ->> 'dataset' IS NOT NULL
UNION SELECT s.spec ->> 'dataset' FROM pipeline_steps s JOIN pipelines p ON p.id = s.pipeline_id
    WHERE p.ended_at IS NULL AND s.spec ->> 'dataset' IS NOT NULL
"""


async def take_request(tx: Connection, project: str, request_id: str, task_id: str) -> bool:
    """Whether this is the first command with this id."""
    return await tx.fetchval(TAKE_REQUEST, project, request_id, task_id) is not None


async def named_artifacts(tx: Connection, after: str, limit: int) -> list[str]:
    return [row["digest"] for row in await tx.fetch(NAMED_ARTIFACTS, after, limit)]


async def used_datasets(tx: Connection) -> list[str]:
    return [row["name"] for row in await tx.fetch(USED_DATASETS)]


async def save_insights(tx: Connection, task_id: str, epoch: int, facts: dict[str, Any]) -> None:
    await tx.execute(SAVE_INSIGHTS, task_id, epoch, facts)
    await tx.execute(DROP_INSIGHTS, task_id, MOST_INSIGHTS)


async def insight_epochs(tx: Connection, task_id: str) -> list[int]:
    return [row["epoch"] for row in await tx.fetch(INSIGHT_EPOCHS, task_id)]


async def insights(tx: Connection, task_id: str, epoch: int) -> dict[str, Any]:
    found: dict[str, Any] = await tx.fetchval(INSIGHTS, task_id, epoch)
    return found
