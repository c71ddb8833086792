"""All SQL of deployments, routes and nodes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.inference.domain import HELD_STATES, Deployment
from shared.as_of import as_they_were, check_history
from shared.db import Connection
from shared.events.common import Signature
from shared.rpc.inference import DeploymentView

COLUMNS = "project, model, version, digest, signature, labels, state, context"
ROUTE = "r.project, r.model, r.wanted_version, r.version, r.epoch, r.context"
# A live node is one whose lease has not ended by the database's clock.
LIVE = "SELECT 1 FROM nodes n WHERE n.lease_until > now()"
NAME = "d.project || '.' || d.model || '.' || d.version"

# Want a version in Triton; a version that was wanted before is left as it is.
INSERT = """
INSERT INTO deployments (project, model, version, digest, signature, labels, context)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
"""
# All that is wanted in Triton.
HELD = f"SELECT {COLUMNS} FROM deployments WHERE state = ANY($1)"
# One deployment, to be changed.
FIND = f"SELECT {COLUMNS} FROM deployments WHERE project = $1 AND model = $2 AND version = $3 FOR UPDATE"
# Change a deployment's state if it is still in the given one.
SET_STATE = f"""
UPDATE deployments SET state = $5, note = $6, drain_epoch = NULL, updated_at = now()
WHERE project = $1 AND model = $2 AND version = $3 AND state = $4 RETURNING {COLUMNS}
"""
# Let a version drain until all nodes have confirmed the epoch.
DRAIN = """
UPDATE deployments SET state = 'draining', drain_epoch = $4, updated_at = now()
WHERE project = $1 AND model = $2 AND version = $3 AND state = 'serving'
"""
# Versions that every live node holds and that nobody has called staged yet.
LOADED = f"""
SELECT {COLUMNS} FROM deployments d WHERE d.state = 'loading' AND EXISTS ({LIVE})
AND NOT EXISTS ({LIVE} AND NOT n.held @> ARRAY[{NAME}])
"""
# Versions whose last request on every live node was answered.
DRAINED = f"""
SELECT {COLUMNS} FROM deployments d WHERE d.state = 'draining' AND EXISTS ({LIVE})
AND NOT EXISTS ({LIVE} AND n.epoch < d.drain_epoch)
"""
# Staged versions beyond the cap of a model, or staged for too long; never one that is to serve, or answers already.
SURPLUS = f"""
SELECT {COLUMNS} FROM (
    SELECT d.*, row_number() OVER (PARTITION BY d.project, d.model ORDER BY d.updated_at DESC, d.version DESC) AS place
    FROM deployments d LEFT JOIN routes r ON r.project = d.project AND r.model = d.model
    AND d.version IN (r.wanted_version, r.version)
    WHERE d.state = 'staged' AND r.model IS NULL
) s WHERE s.place > $1 OR s.updated_at < now() - make_interval(secs => $2)
"""
# Note which version shall answer; older wishes lose against newer ones.
WANT_ROUTE = """
INSERT INTO routes (project, model, wanted_version, wanted_sequence, context) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, model) DO UPDATE
SET wanted_version = excluded.wanted_version, wanted_sequence = excluded.wanted_sequence, context = excluded.context
WHERE routes.wanted_sequence < excluded.wanted_sequence RETURNING wanted_version
"""
# Routes that answer with another version than wanted, where the wanted one is ready and no first one is unsaid.
SWITCHABLE = f"""
SELECT {ROUTE} FROM routes r JOIN deployments d
ON d.project = r.project AND d.model = r.model AND d.version = r.wanted_version
WHERE d.state = 'staged' AND r.version IS DISTINCT FROM r.wanted_version AND NOT EXISTS (
    SELECT 1 FROM deployments f
    WHERE f.project = r.project AND f.model = r.model AND f.version = r.version AND f.state = 'staged'
)
"""
# First routes of a model, of which nobody has said yet that they answer, and by which every live node does.
OPENED = f"""
SELECT {ROUTE} FROM routes r JOIN deployments d
ON d.project = r.project AND d.model = r.model AND d.version = r.version
WHERE d.state = 'staged' AND EXISTS ({LIVE}) AND NOT EXISTS ({LIVE} AND n.seen < r.epoch)
"""
# One route, to be changed.
FIND_ROUTE = f"SELECT {ROUTE} FROM routes r WHERE project = $1 AND model = $2 FOR UPDATE"
# Epochs become visible in their order: who has read one has read all before it.
LOCK_EPOCHS = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '/epochs'))"
# Answer with the wanted version from a new epoch on.
SWITCH = """
UPDATE routes SET version = wanted_version, epoch = nextval('routing_epoch')
WHERE project = $1 AND model = $2 RETURNING epoch
"""
# All routes that answer.
ROUTES = "SELECT project, model, version, epoch FROM routes WHERE version IS NOT NULL"
# A node lives, answers by the routes up to an epoch, holds these versions, and has drained those up to an epoch.
BEAT = """
INSERT INTO nodes (node, lease_until, seen, epoch, held) VALUES ($1, now() + make_interval(secs => $2), $3, $4, $5)
ON CONFLICT (node) DO UPDATE
SET lease_until = excluded.lease_until, seen = excluded.seen, epoch = excluded.epoch, held = excluded.held
"""
# A node that lives goes on living, and answers by the routes up to an epoch.
RENEW = """
UPDATE nodes SET lease_until = now() + make_interval(secs => $2), seen = $3
WHERE node = $1 AND lease_until > now() RETURNING node
"""
# What other live nodes hold.
ELSEWHERE = "SELECT DISTINCT unnest(held) AS name FROM nodes WHERE lease_until > now() AND node <> $1"
# A node leaves of its own will.
LEAVE = "DELETE FROM nodes WHERE node = $1"
# Deployments as people see them.
LIST = f"""
SELECT d.model, d.version, d.digest, d.state, d.note, d.updated_at, {NAME} AS triton_name,
    coalesce(r.epoch, 0) AS epoch,
    d.state NOT IN ('unstaged', 'failed') AND EXISTS ({LIVE} AND n.held @> ARRAY[{NAME}]) AS ready
FROM deployments d LEFT JOIN routes r ON r.project = d.project AND r.model = d.model AND r.version = d.version
WHERE d.project = $1 AND ($2::text IS NULL OR d.model = $2) ORDER BY d.model, d.version DESC LIMIT 1000
"""
# The same as it was at a time; what nodes held is not kept: what was loaded counts as ready.
LIST_AS_OF = f"""{as_they_were(3, "deployments", "routes")}, nodes AS (
    SELECT 'infinity'::timestamptz AS lease_until,
        ARRAY(SELECT {NAME} FROM deployments d WHERE d.state <> 'loading') AS held
)
{LIST}"""
# The artifacts of all that is wanted in Triton.
NAMED_ARTIFACTS = """
SELECT DISTINCT digest FROM deployments WHERE state = ANY($1) AND digest > $2 ORDER BY digest LIMIT $3
"""


@dataclass(frozen=True)
class Route:
    """Which version answers for a model, and which one shall."""

    project: str
    model: str
    wanted_version: int
    version: int | None
    epoch: int
    context: dict[str, str]


def _deployment(row: asyncpg.Record) -> Deployment:
    values = {"signature": Signature.model_validate(row["signature"]), "labels": tuple(row["labels"])}
    return Deployment(**(dict(row) | values))


async def insert(tx: Connection, deployment: Deployment) -> None:
    signature = deployment.signature.model_dump(mode="json")
    key = (deployment.project, deployment.model, deployment.version)
    labels = list(deployment.labels)
    await tx.execute(INSERT, *key, deployment.digest, signature, labels, deployment.context)


async def find(tx: Connection, project: str, model: str, version: int) -> Deployment | None:
    row = await tx.fetchrow(FIND, project, model, version)
    return None if row is None else _deployment(row)


async def held(tx: Connection) -> dict[str, Deployment]:
    """All that is wanted in Triton, by Triton name."""
    found = [_deployment(row) for row in await tx.fetch(HELD, list(HELD_STATES))]
    return {deployment.name: deployment for deployment in found}


async def set_state(tx: Connection, deployment: Deployment, state: str, note: str = "") -> bool:
    """Move a deployment on; False when somebody else did so before."""
    key = (deployment.project, deployment.model, deployment.version)
    return await tx.fetchrow(SET_STATE, *key, deployment.state, state, note) is not None


async def loaded(tx: Connection) -> list[Deployment]:
    return [_deployment(row) for row in await tx.fetch(LOADED)]


async def drained(tx: Connection) -> list[Deployment]:
    return [_deployment(row) for row in await tx.fetch(DRAINED)]


async def surplus(tx: Connection, cap: int, seconds: float) -> list[Deployment]:
    return [_deployment(row) for row in await tx.fetch(SURPLUS, cap, seconds)]


async def want_route(tx: Connection, deployment: Deployment, sequence: int, context: dict[str, str]) -> bool:
    """Note the wish; False when a newer one is there."""
    key = (deployment.project, deployment.model, deployment.version)
    return await tx.fetchrow(WANT_ROUTE, *key, sequence, context) is not None


async def switchable(tx: Connection) -> list[Route]:
    return [Route(**row) for row in await tx.fetch(SWITCHABLE)]


async def opened(tx: Connection) -> list[Route]:
    return [Route(**row) for row in await tx.fetch(OPENED)]


async def find_route(tx: Connection, project: str, model: str) -> Route | None:
    row = await tx.fetchrow(FIND_ROUTE, project, model)
    return None if row is None else Route(**row)


async def switch(tx: Connection, route: Route) -> int:
    """Answer with the wanted version; the version before it drains. Returns the new epoch."""
    await tx.execute(LOCK_EPOCHS)
    epoch = int(await tx.fetchval(SWITCH, route.project, route.model))
    if route.version is not None:
        await tx.execute(DRAIN, route.project, route.model, route.version, epoch)
    return epoch


async def routes(tx: Connection) -> tuple[dict[tuple[str, str], int], int]:
    """The version that answers for each model, and the newest epoch."""
    rows = await tx.fetch(ROUTES)
    return {(row["project"], row["model"]): row["version"] for row in rows}, max((r["epoch"] for r in rows), default=0)


async def beat(tx: Connection, node: str, seconds: float, seen: int, drained: int, names: list[str]) -> None:
    await tx.execute(BEAT, node, seconds, seen, drained, names)


async def renew(tx: Connection, node: str, seconds: float, seen: int) -> bool:
    """Keep a lease that has not ended; one that has ended stays so until the node says what it holds."""
    return await tx.fetchrow(RENEW, node, seconds, seen) is not None


async def elsewhere(tx: Connection, node: str) -> frozenset[str]:
    """The Triton names of what other live nodes hold."""
    return frozenset(row["name"] for row in await tx.fetch(ELSEWHERE, node))


async def leave(tx: Connection, node: str) -> None:
    await tx.execute(LEAVE, node)


async def views(tx: Connection, project: str, model: str | None, as_of: datetime | None = None) -> list[DeploymentView]:
    if as_of is None:
        rows: list[Any] = await tx.fetch(LIST, project, model)
    else:
        await check_history(tx, as_of)
        rows = await tx.fetch(LIST_AS_OF, project, model, as_of)
    return [DeploymentView(**dict(row)) for row in rows]


async def named_artifacts(tx: Connection, after: str, limit: int) -> list[str]:
    return [row["digest"] for row in await tx.fetch(NAMED_ARTIFACTS, list(HELD_STATES), after, limit)]
