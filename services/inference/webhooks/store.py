"""All SQL of webhooks, and of what is delivered to them: that is noted with the request whose answer it is."""

from dataclasses import dataclass, field

from services.inference.deferred.domain import Inference
from services.inference.deferred.store import COLUMNS, inference_of
from shared.context import Context
from shared.db import Connection
from shared.errors import Conflict, NotFound
from shared.resealing import Sealed
from shared.rpc.inference import WebhookView

# Secrets, which were kept in clear before there were keys that seal.
SECRETS = Sealed("webhooks", "sealed", "'webhook ' || project || '/' || name", clear="secret")
# How many webhooks a project has.
COUNT = "SELECT count(*) FROM webhooks WHERE project = $1"
# Keep a webhook.
INSERT = """
INSERT INTO webhooks (project, name, url, sealed, created_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING name, url, created_by, created_at
"""
# Webhooks of a project, as people see them.
LIST = "SELECT name, url, created_by, created_at FROM webhooks WHERE project = $1 ORDER BY name"
# Whether a project has a webhook of this name.
EXISTS = "SELECT EXISTS (SELECT FROM webhooks WHERE project = $1 AND name = $2)"
# Forget a webhook.
DELETE = "DELETE FROM webhooks WHERE project = $1 AND name = $2 RETURNING name"
# Take answers that are to be posted, for the time of one attempt; a receiver that is away delays nobody's first one.
CLAIM_DUE = f"""
WITH taken AS (
    UPDATE inferences SET deliveries = deliveries + 1, deliver_after = now() + make_interval(secs => $1)
    WHERE id IN (
        SELECT id FROM inferences WHERE delivery = 'waiting' AND deliver_after <= now()
        ORDER BY deliveries, deliver_after LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING {COLUMNS}
)
SELECT t.*, w.url, w.sealed, w.secret, extract(epoch FROM now() - t.ended_at)::float AS age
FROM taken t LEFT JOIN webhooks w ON w.project = t.project AND w.name = t.webhook
"""
# Note what an attempt came to, unless another was begun since.
SETTLE = """
UPDATE inferences SET delivery = $3, delivery_problem = $4,
    deliver_after = now() + make_interval(secs => coalesce($5, 0))
WHERE id = $1 AND deliveries = $2 AND delivery = 'waiting' RETURNING id
"""


@dataclass(frozen=True)
class Due:
    """An answer that is to be posted, where to, and the seconds since there is one; without a URL to nobody."""

    inference: Inference
    url: str | None
    sealed: bytes | None = field(repr=False)
    clear: str | None = field(repr=False)
    age: float


async def count(tx: Connection, project: str) -> int:
    return int(await tx.fetchval(COUNT, project))


async def insert(tx: Connection, context: Context, name: str, url: str, sealed: bytes) -> WebhookView:
    """Keep a webhook; raises Conflict where there is one of this name."""
    row = await tx.fetchrow(INSERT, context.project, name, url, sealed, context.actor)
    if row is None:
        raise Conflict(f"there is a webhook '{name}' already: delete it first", field="name")
    return WebhookView(**dict(row))


async def views(tx: Connection, project: str) -> list[WebhookView]:
    return [WebhookView(**dict(row)) for row in await tx.fetch(LIST, project)]


async def exists(tx: Connection, project: str, name: str) -> bool:
    return bool(await tx.fetchval(EXISTS, project, name))


async def delete(tx: Connection, project: str, name: str) -> None:
    """Forget a webhook; raises NotFound."""
    if await tx.fetchval(DELETE, project, name) is None:
        raise NotFound(f"there is no webhook '{name}'", field="name")


async def claim_due(tx: Connection, lease_seconds: float, limit: int) -> list[Due]:
    rows = await tx.fetch(CLAIM_DUE, lease_seconds, limit)
    return [Due(inference_of(row), row["url"], row["sealed"], row["secret"], row["age"]) for row in rows]


async def settle(tx: Connection, due: Due, state: str, problem: str = "", rest_seconds: float | None = None) -> bool:
    """Note what an attempt came to; False where another was begun since."""
    taken = due.inference
    return await tx.fetchval(SETTLE, taken.id, taken.deliveries, state, problem, rest_seconds) is not None
