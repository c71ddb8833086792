"""The SQL of what people want of a model's resources, and of what nodes say that they give it."""

from datetime import UTC, datetime
from typing import Any

from services.inference.resources.domain import Bounds
from shared.db import Connection
from shared.rpc.inference import NodeResources

# What people want of a model.
SET = """
INSERT INTO resources (project, model, instances_min, instances_max, pinned) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, model) DO UPDATE SET instances_min = excluded.instances_min,
    instances_max = excluded.instances_max, pinned = excluded.pinned, updated_at = now()
"""
# The same of all models.
BOUNDS = "SELECT project, model, instances_min, instances_max, pinned FROM resources"
# The same of one model.
FIND = "SELECT instances_min, instances_max, pinned FROM resources WHERE project = $1 AND model = $2"
# Whether a version of the model was ever deployed.
IS_KNOWN = "SELECT EXISTS (SELECT 1 FROM deployments WHERE project = $1 AND model = $2)"
# What a node gives each version that it holds.
GIVE = "UPDATE nodes SET resources = $2 WHERE node = $1"
# What live nodes say of each version that they hold.
GIVEN = """
SELECT n.node, d.version, n.resources -> (d.project || '.' || d.model || '.' || d.version) AS given
FROM nodes n, deployments d
WHERE n.lease_until > now() AND d.project = $1 AND d.model = $2
    AND n.resources ? (d.project || '.' || d.model || '.' || d.version)
ORDER BY d.version DESC, n.node
"""


async def save(tx: Connection, project: str, model: str, bounds: Bounds) -> None:
    await tx.execute(SET, project, model, bounds.least, bounds.most, bounds.pinned)


async def bounds(tx: Connection) -> dict[tuple[str, str], Bounds]:
    rows = await tx.fetch(BOUNDS)
    return {(row["project"], row["model"]): Bounds(*list(row)[2:]) for row in rows}


async def find(tx: Connection, project: str, model: str) -> Bounds:
    row = await tx.fetchrow(FIND, project, model)
    return Bounds() if row is None else Bounds(*row)


async def is_known(tx: Connection, project: str, model: str) -> bool:
    return bool(await tx.fetchval(IS_KNOWN, project, model))


async def give(tx: Connection, node: str, facts: dict[str, Any]) -> None:
    await tx.execute(GIVE, node, facts)


async def given(tx: Connection, project: str, model: str) -> list[NodeResources]:
    return [_given(row["node"], row["version"], row["given"]) for row in await tx.fetch(GIVEN, project, model)]


def _given(node: str, version: int, facts: dict[str, Any]) -> NodeResources:
    used = datetime.fromtimestamp(facts.pop("used"), UTC)
    return NodeResources(node=node, version=version, last_used_at=used, **facts)
