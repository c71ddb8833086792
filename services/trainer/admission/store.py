"""SQL of admission; one runner is answered at a time, by the database's clock."""

import asyncpg

from services.trainer.admission.domain import Waiting, share
from shared.db import Connection
from shared.rpc.trainer import AskAdmission, Taken, Wish
from shared.tasks.terms import Resources

LOCK = 7302
HALF_LIFE_SECONDS = 3600.0
WISH_SECONDS = 3.0
NODE_SECONDS = 60.0

# One decision at a time.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))"
# Count what has run since it was counted last, also of those whose runner has gone.
COUNT = """
WITH counted AS (
    UPDATE admissions SET counted_at = clock_timestamp() FROM admissions AS before
    WHERE admissions.task_id = before.task_id
    RETURNING before.project, before.share
        * extract(epoch FROM least(clock_timestamp(), before.until) - before.counted_at)::float8 AS seconds
), summed AS (
    SELECT project, sum(greatest(seconds, 0)) AS seconds FROM counted GROUP BY project
)
INSERT INTO project_usage AS u (project, used) SELECT project, seconds FROM summed
ON CONFLICT (project) DO UPDATE SET counted_at = clock_timestamp(), used = excluded.used
    + u.used * 0.5 ^ (extract(epoch FROM clock_timestamp() - u.counted_at)::float8 / $1)
"""
# What the runner does not hold any more, and what others held and do not renew.
FREE = """
DELETE FROM admissions WHERE until < clock_timestamp() OR (owner = $1 AND NOT task_id = ANY($2))
"""
# What a runner holds; a task that was another's is this one's now, as its lease says.
HOLD = """
INSERT INTO admissions (task_id, owner, node, project, needs, share, until)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))
ON CONFLICT (task_id) DO UPDATE SET owner = excluded.owner, node = excluded.node, until = excluded.until
"""
# Forget the runner's old wishes, and those of runners that have gone.
FORGET_WISHES = "DELETE FROM wishes WHERE owner = $1 OR until < clock_timestamp()"
# Keep a wish for as long as its runner asks again.
KEEP_WISH = """
INSERT INTO wishes (task_id, owner, node, project, priority, needs, created_at, until)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))
ON CONFLICT (task_id) DO UPDATE SET owner = excluded.owner, node = excluded.node, until = excluded.until
"""
# What is admitted waits no more.
DROP_WISH = "DELETE FROM wishes WHERE task_id = $1"
# All that waits on a node, and is not held.
WAITING = """
SELECT task_id, project, priority, needs, created_at, owner = $2 AS is_askers FROM wishes
WHERE node = $1
"""
# What is taken of a node; whoever held what the runner would run has lost it.
TAKEN = "SELECT needs FROM admissions WHERE node = $1 AND NOT task_id = ANY($2)"
# What a node has.
SEE_NODE = """
INSERT INTO nodes (node, capacity) VALUES ($1, $2)
ON CONFLICT (node) DO UPDATE SET capacity = excluded.capacity, seen_at = clock_timestamp()
"""
# What the nodes of one kind have that were heard of lately; a Ray cluster counts as one of another kind.
NODES = """
SELECT capacity FROM nodes
WHERE seen_at > clock_timestamp() - make_interval(secs => $1) AND (node LIKE 'ray:%') = ($2 LIKE 'ray:%')
"""
# All that is held, by node.
HELD = "SELECT node, task_id, project, needs FROM admissions WHERE until > clock_timestamp()"
# All that waits, by node, and is not held.
IN_LINE = """
SELECT node, task_id, project, priority, needs, created_at FROM wishes
WHERE until > clock_timestamp() AND NOT task_id IN (SELECT task_id FROM admissions WHERE until > clock_timestamp())
"""
# The nodes that were heard of lately.
SEEN_NODES = "SELECT node, capacity FROM nodes WHERE seen_at > clock_timestamp() - make_interval(secs => $1)"
# How much each project had, in seconds of a whole node, of which half is forgotten every half-life.
USAGE = """
SELECT project, used * 0.5 ^ (extract(epoch FROM clock_timestamp() - counted_at)::float8 / $1) AS used
FROM project_usage
"""


async def tell(tx: Connection, told: AskAdmission) -> None:
    """Keep what a runner says of itself."""
    await tx.execute(ONE_AT_A_TIME, LOCK)
    await tx.execute(SEE_NODE, told.node, told.capacity.model_dump())
    await tx.execute(COUNT, HALF_LIFE_SECONDS)
    await tx.execute(FREE, told.owner, [wish.task_id for wish in told.held])
    await tx.execute(FORGET_WISHES, told.owner)
    for wish in told.held:
        await hold(tx, told, wish)
    for wish in told.waiting:
        facts = (wish.project, wish.priority, wish.needs.model_dump(), wish.created_at, WISH_SECONDS)
        await tx.execute(KEEP_WISH, wish.task_id, told.owner, told.node, *facts)


async def hold(tx: Connection, told: AskAdmission, wish: "Wish | Waiting") -> None:
    counts = share(wish.needs, told.capacity)
    facts = (wish.project, wish.needs.model_dump(), counts, told.lease_seconds)
    await tx.execute(HOLD, wish.task_id, told.owner, told.node, *facts)


async def drop_wish(tx: Connection, task_id: str) -> None:
    await tx.execute(DROP_WISH, task_id)


async def waiting(tx: Connection, told: AskAdmission) -> list[Waiting]:
    rows = await tx.fetch(WAITING, told.node, told.owner)
    return [Waiting(**dict(row) | {"needs": Resources(**row["needs"])}) for row in rows]


async def taken(tx: Connection, told: AskAdmission) -> list[Resources]:
    lost = [wish.task_id for wish in told.waiting]
    return [Resources(**row["needs"]) for row in await tx.fetch(TAKEN, told.node, lost)]


async def nodes(tx: Connection, like: str) -> list[Resources]:
    return [Resources(**row["capacity"]) for row in await tx.fetch(NODES, NODE_SECONDS, like)]


async def seen_nodes(tx: Connection) -> dict[str, Resources]:
    """What each has, by name."""
    return {row["node"]: Resources(**row["capacity"]) for row in await tx.fetch(SEEN_NODES, NODE_SECONDS)}


async def held(tx: Connection) -> list[tuple[str, Taken]]:
    """All that runs, each with its node."""
    return [(row["node"], _taken(row)) for row in await tx.fetch(HELD)]


async def in_line(tx: Connection) -> list[tuple[str, Waiting]]:
    """All that waits, each with its node."""
    return [(row["node"], _waiting(row)) for row in await tx.fetch(IN_LINE)]


def _taken(row: asyncpg.Record) -> Taken:
    return Taken(task_id=row["task_id"], project=row["project"], needs=Resources(**row["needs"]))


def _waiting(row: asyncpg.Record) -> Waiting:
    facts = {name: value for name, value in row.items() if name not in ("node", "needs")}
    return Waiting(**facts, needs=Resources(**row["needs"]), is_askers=False)


async def usage(tx: Connection) -> dict[str, float]:
    return {row["project"]: row["used"] for row in await tx.fetch(USAGE, HALF_LIFE_SECONDS)}
