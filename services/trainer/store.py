"""All SQL of trainer beside that of its tasks."""

from shared.db import Connection

# Note that a command was obeyed; no row comes back when that was so before.
TAKE_REQUEST = """
INSERT INTO requests (project, request_id, task_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING task_id
"""


async def take_request(tx: Connection, project: str, request_id: str, task_id: str) -> bool:
    """Whether this is the first command with this id."""
    return await tx.fetchval(TAKE_REQUEST, project, request_id, task_id) is not None
