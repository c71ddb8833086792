"""All SQL of cause and effect."""

from services.monitor import store
from services.monitor.tracing.domain import TELLING, Served, subjects_of
from shared.db import Connection
from shared.events.tasks import TaskChanged
from shared.rpc.monitor import TimelineEntry, TraceNode
from shared.rpc.tasks import TaskView

MOST_CHAINS = 50
LOOKED_AT = 10_000
KEPT = [*TELLING, "evaluation_id"]

# The chain of an event, whoever said it.
OF_EVENT = """
WITH RECURSIVE sources AS (
    (SELECT source FROM timeline WHERE project = $1 ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (SELECT t.source FROM timeline t WHERE t.project = $1 AND t.source > s.source ORDER BY t.source LIMIT 1)
    FROM sources s WHERE s.source IS NOT NULL
)
SELECT t.correlation_id FROM sources s JOIN timeline t ON t.project = $1 AND t.source = s.source AND t.id = $2
"""
# Whether this is a chain.
IS_CHAIN = "SELECT correlation_id FROM timeline WHERE project = $1 AND correlation_id = $2 LIMIT 1"
# The chains in which something is spoken of, and those of the tasks that are parts of it.
OF_THING = """
SELECT DISTINCT correlation_id FROM timeline WHERE project = $1 AND subject = ANY($2)
UNION SELECT correlation_id FROM task_list WHERE project = $1 AND (id = $3 OR parent = $3) LIMIT $4
"""
# The chains in which a version is spoken of.
OF_VERSION = """
SELECT DISTINCT correlation_id FROM timeline
WHERE project = $1 AND subject = ANY($2) AND data ->> 'version' = $3 LIMIT $4
"""
# The oldest events of these chains, with what is telling of them; of a task's progress only what changed its state.
CHAINS = """
SELECT id, type, source, subject, sequence, position, at, actor, correlation_id, causation_id,
    (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(data) WHERE key = ANY($4)) AS data
FROM (
    SELECT *, type = $3 AND data ->> 'state' = lag(data ->> 'state')
        OVER (PARTITION BY source, subject, type ORDER BY sequence, at) AS is_progress
    FROM timeline WHERE project = $1 AND correlation_id = ANY($2)
) AS chain WHERE is_progress IS NOT TRUE ORDER BY at, position, id LIMIT $5
"""
# Tasks of these chains and ids.
TASKS = """
SELECT project, id, kind, model, state, parent, created_at, started_at, ended_at FROM task_list
WHERE project = $1 AND id = ANY($2)
"""
# How the newest predictions of a model are shared by its versions.
SERVED = (
    store.NEWEST
    + """
SELECT version, count(*) AS count, count(*) FILTER (WHERE status >= 400) AS errors, min(at) AS first, max(at) AS last,
    sum(count(*)) OVER () >= $4 AS more
FROM newest GROUP BY version
"""
)


async def chains_of_id(tx: Connection, project: str, name: str) -> list[str]:
    """Of an event, of a chain itself, or of a request that was answered later."""
    rows = await tx.fetch(OF_EVENT, project, name) or await tx.fetch(IS_CHAIN, project, name)
    return [row["correlation_id"] for row in rows] or await chains_of_thing(tx, project, name)


async def chains_of_thing(tx: Connection, project: str, thing: str) -> list[str]:
    rows = await tx.fetch(OF_THING, project, subjects_of(thing), thing, MOST_CHAINS)
    return [row["correlation_id"] for row in rows]


async def chains_of_version(tx: Connection, project: str, model: str, version: int) -> list[str]:
    subjects = [f"models/{model}", f"deployment/{model}"]
    rows = await tx.fetch(OF_VERSION, project, subjects, str(version), MOST_CHAINS)
    return [row["correlation_id"] for row in rows]


async def events(tx: Connection, project: str, chains: list[str], most: int) -> list[TimelineEntry]:
    rows = await tx.fetch(CHAINS, project, chains, TaskChanged.type_name(), KEPT, most)
    return [TimelineEntry(**dict(row)) for row in rows]


async def tasks(tx: Connection, project: str, ids: list[str]) -> list[TaskView]:
    return [TaskView(**dict(row)) for row in await tx.fetch(TASKS, project, ids)]


async def served(tx: Connection, project: str, model: str) -> list[Served]:
    with_evaluations = False
    rows = await tx.fetch(SERVED, project, model, with_evaluations, LOOKED_AT)
    return [Served(model, **dict(row)) for row in rows]


async def prediction(tx: Connection, project: str, name: str) -> TraceNode | None:
    """A prediction, hung from those of its version, or from the version itself for which it was evaluated."""
    found = await store.prediction(tx, project, name)
    if found is None:
        return None
    of = f"{found.model}/{found.version}"
    facts = {"model": found.model, "version": found.version, "status": found.status}
    parent = of if found.evaluation else f"{of}/predictions"
    return TraceNode(id=name, parent=parent, kind="prediction", name=of, at=found.at, facts=facts)
