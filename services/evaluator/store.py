"""All SQL of evaluator."""

from typing import Any

import asyncpg

from services.evaluator.domain import Champion, Judgement, Rivalry, Version
from shared.db import Connection
from shared.errors import NotFound
from shared.events.common import GateCondition, Signature, TaskState
from shared.rpc.evaluator import EvaluationView
from shared.tasks.state import short

# Keep a copy of a version; the first telling stands.
INSERT_VERSION = """
INSERT INTO versions (project, model, version, digest, task_type, dataset, dataset_digest, test_part, labels,
    signature, gate, auto_promote)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING
"""
# What a version was trained on; the first telling stands.
INSERT_TRAINING_PART = "INSERT INTO training_parts VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
# One version, locked: evaluations of it are accepted one after the other.
FIND_VERSION = """
SELECT v.project, v.model, v.version, v.digest, v.task_type, v.dataset, v.dataset_digest, v.test_part, v.labels,
    v.signature, v.gate, v.auto_promote, coalesce(t.digest, '') AS train_part
FROM versions v LEFT JOIN training_parts t USING (project, model, version)
WHERE v.project = $1 AND v.model = $2 AND v.version = $3 FOR UPDATE OF v
"""
# Note the champion; older tellings lose against newer ones.
SET_CHAMPION = """
INSERT INTO champions (project, model, version, sequence) VALUES ($1, $2, $3, $4)
ON CONFLICT (project, model) DO UPDATE SET version = excluded.version, sequence = excluded.sequence
WHERE champions.sequence < excluded.sequence
"""
# The champion of a model, and how new the word of it is.
READ_CHAMPION = "SELECT version, sequence FROM champions WHERE project = $1 AND model = $2"
# Whether a version was evaluated beside this champion, or is being so; one that failed or was cancelled was not.
EVALUATED = """
SELECT FROM evaluations e JOIN tasks t ON t.id = e.id
WHERE e.project = $1 AND e.model = $2 AND e.version = $3 AND e.champion_version IS NOT DISTINCT FROM $4
    AND t.state NOT IN ('TASK_STATE_FAILED', 'TASK_STATE_CANCELLED')
"""
# Whether an evaluation that has not ended needs this version, as candidate or as champion.
NEEDED = """
SELECT FROM evaluations e JOIN tasks t ON t.id = e.id
WHERE e.project = $1 AND e.model = $2 AND $3 IN (e.version, e.champion_version)
    AND t.state NOT IN ('TASK_STATE_SUCCEEDED', 'TASK_STATE_FAILED', 'TASK_STATE_CANCELLED')
"""
# Begin an evaluation; its id is its task's.
INSERT = """
INSERT INTO evaluations (id, project, model, version, digest, champion_version, champion_digest, dataset_digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# Keep the verdict.
CONCLUDE = """
UPDATE evaluations SET metrics = $2, report = $3, champion_metrics = $4, passed = $5, reasons = $6,
    baseline_method = $7, baseline_metric = $8, baseline_metrics = $9, baseline_beaten = $10
WHERE id = $1
"""
COLUMNS = """e.id, e.model, e.version, e.digest, e.dataset_digest, e.metrics, e.champion_version, e.champion_metrics,
e.baseline_method, e.baseline_metric, e.baseline_metrics, e.baseline_beaten, e.passed, e.reasons,
e.created_at, t.ended_at, t.state"""
# One evaluation with its report.
FIND = f"""
SELECT {COLUMNS}, e.report FROM evaluations e JOIN tasks t ON t.id = e.id WHERE e.project = $1 AND e.id = $2
"""
# Evaluations, newest first; without their reports, which grow with the square of the labels.
LIST = f"""
SELECT {COLUMNS} FROM evaluations e JOIN tasks t ON t.id = e.id
WHERE e.project = $1 AND ($2::text IS NULL OR e.model = $2) AND ($3::int IS NULL OR e.version = $3)
ORDER BY e.created_at DESC LIMIT 200
"""


async def insert_version(tx: Connection, version: Version) -> None:
    await tx.execute(
        INSERT_VERSION,
        version.project,
        version.model,
        version.version,
        version.digest,
        version.task_type,
        version.dataset,
        version.dataset_digest,
        version.test_part,
        list(version.labels),
        version.signature.model_dump(mode="json"),
        [condition.model_dump(mode="json") for condition in version.gate],
        version.auto_promote,
    )
    await tx.execute(INSERT_TRAINING_PART, version.project, version.model, version.version, version.train_part)


async def find_version(tx: Connection, project: str, model: str, version: int) -> Version | None:
    row = await tx.fetchrow(FIND_VERSION, project, model, version)
    if row is None:
        return None
    facts = dict(row)
    facts["labels"] = tuple(facts["labels"])
    facts["signature"] = Signature.model_validate(facts["signature"])
    facts["gate"] = tuple(GateCondition.model_validate(condition) for condition in facts["gate"])
    return Version(**facts)


async def set_champion(tx: Connection, project: str, model: str, champion: Champion) -> None:
    await tx.execute(SET_CHAMPION, project, model, champion.version, champion.sequence)


async def champion(tx: Connection, project: str, model: str) -> Champion:
    row = await tx.fetchrow(READ_CHAMPION, project, model)
    return Champion(**dict(row)) if row else Champion()


async def evaluated(tx: Connection, version: Version, champion_version: int | None) -> bool:
    key = (version.project, version.model, version.version, champion_version)
    return await tx.fetchrow(EVALUATED, *key) is not None


async def needed(tx: Connection, version: Version) -> bool:
    return await tx.fetchrow(NEEDED, version.project, version.model, version.version) is not None


async def insert(tx: Connection, evaluation_id: str, version: Version, against: Version | None) -> None:
    """Begin an evaluation of a version beside a champion, or alone."""
    champion_facts = (against.version, against.digest) if against else (None, "")
    key = (evaluation_id, version.project, version.model, version.version, version.digest)
    await tx.execute(INSERT, *key, *champion_facts, version.dataset_digest)


async def conclude(
    tx: Connection,
    evaluation_id: str,
    report: dict[str, Any],
    metrics: dict[str, float],
    champion_metrics: dict[str, float],
    judgement: Judgement,
    rivalry: Rivalry,
) -> None:
    verdict = (judgement.passed, list(judgement.reasons))
    beside = (rivalry.method, rivalry.metric, dict(rivalry.metrics), rivalry.beaten)
    await tx.execute(CONCLUDE, evaluation_id, metrics, report, champion_metrics, *verdict, *beside)


def _view(row: asyncpg.Record) -> EvaluationView:
    return EvaluationView(**(dict(row) | {"state": short(TaskState(row["state"]))}))


async def find(tx: Connection, project: str, evaluation_id: str) -> EvaluationView:
    """One evaluation; raises NotFound."""
    row = await tx.fetchrow(FIND, project, evaluation_id)
    if row is None:
        raise NotFound(f"there is no evaluation {evaluation_id}")
    return _view(row)


async def views(tx: Connection, project: str, model: str | None, version: int | None) -> list[EvaluationView]:
    return [_view(row) for row in await tx.fetch(LIST, project, model, version)]
