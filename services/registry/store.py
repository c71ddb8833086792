"""All SQL of registry."""

from typing import Any

import asyncpg

from services.registry.domain import Evaluation, Lineage, Version
from shared.db import Connection
from shared.errors import NotFound
from shared.events.common import Verdict
from shared.events.evaluation import EvaluationCompleted
from shared.rpc.registry import DatasetView, ModelView, RegisterDataset, VersionView

# Make a model known, or lock the known one, until the transaction ends.
UPSERT_MODEL = """
INSERT INTO models (project, name, task_type) VALUES ($1, $2, $3)
ON CONFLICT (project, name) DO UPDATE SET task_type = excluded.task_type, updated_at = now()
"""
# Lock a known model until the transaction ends: whoever moves its aliases or numbers its versions does so alone.
LOCK_MODEL = "SELECT name FROM models WHERE project = $1 AND name = $2 FOR NO KEY UPDATE"
# The version that came out of a task.
VERSION_OF_TASK = "SELECT version FROM versions WHERE project = $1 AND task_id = $2"
# Add the next version of a locked model.
INSERT_VERSION = """
INSERT INTO versions (project, model, version, digest, task_id, task_type, dataset, dataset_digest, code_version,
    parameters, metrics, labels, signature, gate, card)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
FROM versions WHERE project = $1 AND model = $2
RETURNING version
"""
# Number and digest of one version.
FIND_VERSION = "SELECT version, digest FROM versions WHERE project = $1 AND model = $2 AND version = $3"
# The version that an alias points at.
FIND_ALIAS = """
SELECT version, digest FROM aliases JOIN versions USING (project, model, version)
WHERE project = $1 AND model = $2 AND alias = $3
"""
# Point an alias of a locked model at a version.
POINT_ALIAS = """
INSERT INTO aliases (project, model, alias, version, evaluation_id, actor) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (project, model, alias) DO UPDATE
SET version = excluded.version, evaluation_id = excluded.evaluation_id, actor = excluded.actor, updated_at = now()
"""
# Note that a model changed.
TOUCH_MODEL = "UPDATE models SET updated_at = now() WHERE project = $1 AND name = $2"
# Keep what promotion needs of an evaluation; nothing comes back when it is known.
INSERT_EVALUATION = """
INSERT INTO evaluations (project, id, model, version, digest, dataset_digest, metrics, champion_version,
    champion_digest, passed, reasons, auto_promote)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING RETURNING id
"""
# The evaluation of a digest that speaks most for it: a passing one before a failed one, then the newest.
BEST_EVALUATION = """
SELECT id, digest, passed, champion_digest FROM evaluations WHERE project = $1 AND model = $2 AND digest = $3
ORDER BY passed DESC, recorded_at DESC LIMIT 1
"""
# Models with the count of their versions and their aliases, by name.
MODELS = """
SELECT m.name, m.project, m.task_type, m.created_at, m.updated_at,
    (SELECT count(*) FROM versions v WHERE v.project = m.project AND v.model = m.name) AS versions,
    (SELECT coalesce(jsonb_object_agg(a.alias, a.version), '{}') FROM aliases a
     WHERE a.project = m.project AND a.model = m.name) AS aliases
FROM models m WHERE m.project = $1 AND ($2::text IS NULL OR m.name = $2) ORDER BY m.name LIMIT 1000
"""
# Versions of a model below a number, newest first, with their aliases and the newest evaluation of their digest.
VERSIONS = """
SELECT v.model, v.version, v.digest, v.task_id, v.task_type, v.dataset, v.dataset_digest, v.code_version,
    v.parameters, v.metrics, v.labels, v.signature, v.gate, v.card, v.created_at,
    ARRAY(SELECT a.alias FROM aliases a
          WHERE a.project = v.project AND a.model = v.model AND a.version = v.version ORDER BY a.alias) AS aliases,
    coalesce(e.id, '') AS evaluation_id, e.passed AS evaluation_passed
FROM versions v LEFT JOIN LATERAL (
    SELECT id, passed FROM evaluations e WHERE e.project = v.project AND e.model = v.model AND e.digest = v.digest
    ORDER BY e.recorded_at DESC LIMIT 1
) e ON true
WHERE v.project = $1 AND v.model = $2 AND ($3::integer IS NULL OR v.version < $3)
ORDER BY v.version DESC LIMIT $4
"""
# Keep a data set; nothing comes back when it is known.
INSERT_DATASET = """
INSERT INTO datasets (project, name, digest, parts, facts) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING digest
"""
# A data set by its digest, or the newest of its name.
FIND_DATASET = """
SELECT name, digest, parts, facts, created_at FROM datasets
WHERE project = $1 AND name = $2 AND ($3::text IS NULL OR digest = $3) ORDER BY created_at DESC LIMIT 1
"""


def _version(row: asyncpg.Record) -> Version:
    return Version(row["version"], row["digest"])


async def lock_model(tx: Connection, project: str, model: str) -> None:
    """Raises NotFound."""
    if await tx.fetchval(LOCK_MODEL, project, model) is None:
        raise NotFound(f"there is no model {model!r}", field="model")


async def lock_or_make_model(tx: Connection, project: str, model: str, task_type: str) -> None:
    await tx.execute(UPSERT_MODEL, project, model, task_type)


async def has_version_of_task(tx: Connection, project: str, task_id: str) -> bool:
    return await tx.fetchval(VERSION_OF_TASK, project, task_id) is not None


async def insert_version(tx: Connection, project: str, lineage: Lineage) -> int:
    """Returns the number; the model must be locked."""
    fields = lineage.model_dump(mode="json")
    names = ("model", "digest", "task_id", "task_type", "dataset", "dataset_digest", "code_version")
    documents = ("parameters", "metrics", "labels", "signature", "gate", "card")
    return int(await tx.fetchval(INSERT_VERSION, project, *(fields[name] for name in (*names, *documents))))


async def find_version(tx: Connection, project: str, model: str, number: int) -> Version:
    """Raises NotFound."""
    row = await tx.fetchrow(FIND_VERSION, project, model, number)
    if row is None:
        raise NotFound(f"model {model!r} has no version {number}", field="version")
    return _version(row)


async def find_alias(tx: Connection, project: str, model: str, alias: str) -> Version | None:
    row = await tx.fetchrow(FIND_ALIAS, project, model, alias)
    return None if row is None else _version(row)


async def point_alias(
    tx: Connection, project: str, model: str, alias: str, version: Version, evaluation_id: str, actor: str
) -> None:
    await tx.execute(POINT_ALIAS, project, model, alias, version.number, evaluation_id, actor)
    await tx.execute(TOUCH_MODEL, project, model)


async def insert_evaluation(tx: Connection, project: str, event: EvaluationCompleted) -> Evaluation | None:
    """The evaluation, or None when it was known."""
    passed = event.verdict is Verdict.PASSED
    inserted = await tx.fetchval(
        INSERT_EVALUATION,
        project,
        event.evaluation_id,
        event.model,
        event.version,
        event.digest,
        event.dataset_digest,
        event.metrics,
        event.champion_version,
        event.champion_digest,
        passed,
        event.reasons,
        event.auto_promote,
    )
    known = inserted is None
    return None if known else Evaluation(event.evaluation_id, event.digest, passed, event.champion_digest)


async def best_evaluation(tx: Connection, project: str, model: str, digest: str) -> Evaluation | None:
    row = await tx.fetchrow(BEST_EVALUATION, project, model, digest)
    return None if row is None else Evaluation(**dict(row))


async def list_models(tx: Connection, project: str, model: str | None = None) -> list[ModelView]:
    return [ModelView(**dict(row)) for row in await tx.fetch(MODELS, project, model)]


async def get_model(tx: Connection, project: str, model: str) -> ModelView:
    """Raises NotFound."""
    for found in await list_models(tx, project, model):
        return found
    raise NotFound(f"there is no model {model!r}", field="model")


async def list_versions(tx: Connection, project: str, model: str, before: int | None, limit: int) -> list[VersionView]:
    return [VersionView(**dict(row)) for row in await tx.fetch(VERSIONS, project, model, before, limit)]


async def get_version(tx: Connection, project: str, model: str, number: int) -> VersionView:
    """Raises NotFound."""
    await find_version(tx, project, model, number)
    return (await list_versions(tx, project, model, number + 1, 1))[0]


async def insert_dataset(tx: Connection, project: str, dataset: RegisterDataset) -> bool:
    """Whether the data set was new."""
    fields: tuple[Any, ...] = (dataset.name, dataset.digest, dataset.parts, dataset.facts)
    return await tx.fetchval(INSERT_DATASET, project, *fields) is not None


async def find_dataset(tx: Connection, project: str, name: str, digest: str | None) -> DatasetView | None:
    row = await tx.fetchrow(FIND_DATASET, project, name, digest)
    return None if row is None else DatasetView(**dict(row))
