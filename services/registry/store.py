"""All SQL of registry."""

from datetime import datetime
from typing import Any

import asyncpg

from services.registry.domain import Described, Evaluation, Reference, Version
from shared.as_of import as_they_were, check_history
from shared.db import Connection
from shared.errors import NotFound
from shared.events.common import GateCondition, Signature, Verdict
from shared.events.evaluation import EvaluationCompleted
from shared.rpc.registry import DatasetView, ListModels, ListVersions, ModelView, RegisterDataset, VersionView

# Make a model known, or lock the known one, until the transaction ends.
UPSERT_MODEL = """
INSERT INTO models (project, name, task_type) VALUES ($1, $2, $3)
ON CONFLICT (project, name) DO UPDATE
SET task_type = coalesce(nullif(excluded.task_type, ''), models.task_type), updated_at = now()
RETURNING archived_at IS NOT NULL
"""
# Lock a known model until the transaction ends: whoever moves its aliases or numbers its versions does so alone.
LOCK_MODEL = "SELECT name FROM models WHERE project = $1 AND name = $2 FOR NO KEY UPDATE"
# The version that came out of a task.
VERSION_OF_TASK = "SELECT version FROM versions WHERE project = $1 AND task_id = $2"
# Add the next version of a locked model.
INSERT_VERSION = """
INSERT INTO versions (project, model, version, digest, task_id, task_type, dataset, dataset_digest, code_version,
    parameters, metrics, labels, signature, gate, card, source, derived_from, actor)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
FROM versions WHERE project = $1 AND model = $2
RETURNING version
"""
# Number and digest of one version, and whether it or its model is archived.
FIND_VERSION = """
SELECT version, digest, coalesce(v.archived_at, m.archived_at) IS NOT NULL AS archived
FROM versions v JOIN models m ON m.project = v.project AND m.name = v.model
WHERE v.project = $1 AND v.model = $2 AND v.version = $3 AND v.deleted_at IS NULL
"""
# The version that an alias points at.
FIND_ALIAS = """
SELECT version, digest, archived_at IS NOT NULL AS archived FROM aliases JOIN versions USING (project, model, version)
WHERE project = $1 AND model = $2 AND alias = $3
"""
# The version of a model that is this very file.
VERSION_OF_DIGEST = """
SELECT version FROM versions WHERE project = $1 AND model = $2 AND digest = $3 AND deleted_at IS NULL
ORDER BY version DESC LIMIT 1
"""
# Versions with a gate on a data set, or of the model on any: those of the model first, the newest first.
REFERENCES = """
SELECT model, version, task_type, dataset, dataset_digest, labels, signature, gate FROM versions
WHERE project = $1 AND deleted_at IS NULL AND gate <> '[]' AND dataset_digest IS NOT NULL
AND (($3::text IS NULL AND model = $2) OR dataset = $3)
ORDER BY model = $2 DESC, created_at DESC, version DESC LIMIT 20
"""
# Hide a model, or show it again; nothing comes back when it was so before.
ARCHIVE_MODEL = """
UPDATE models SET archived_at = CASE WHEN $3 THEN now() END, updated_at = now()
WHERE project = $1 AND name = $2 AND (archived_at IS NOT NULL) <> $3 RETURNING name
"""
# Hide a version, or show it again; nothing comes back when it was so before.
ARCHIVE_VERSION = """
UPDATE versions SET archived_at = CASE WHEN $4 THEN now() END
WHERE project = $1 AND model = $2 AND version = $3 AND (archived_at IS NOT NULL) <> $4 RETURNING version
"""
# Forget a version but for its number, which is never given again.
DELETE_VERSION = "UPDATE versions SET deleted_at = now() WHERE project = $1 AND model = $2 AND version = $3"
# Forget the aliases of a version.
DELETE_ALIASES = "DELETE FROM aliases WHERE project = $1 AND model = $2 AND version = $3"
# The metrics of the newest evaluation of a digest, and on which data set.
EVALUATED = """
SELECT dataset_digest, metrics FROM evaluations WHERE project = $1 AND model = $2 AND digest = $3
ORDER BY recorded_at DESC LIMIT 1
"""
# Point an alias of a locked model at a version.
POINT_ALIAS = """
INSERT INTO aliases (project, model, alias, version, evaluation_id, actor) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (project, model, alias) DO UPDATE
SET version = excluded.version, evaluation_id = excluded.evaluation_id, actor = excluded.actor, updated_at = now()
"""
# Tag a model; nothing comes back when it was tagged so before.
SET_TAGS = """
UPDATE models SET tags = $3, updated_at = now() WHERE project = $1 AND name = $2 AND tags <> $3 RETURNING name
"""
# Every model that has tags, locked until the transaction ends.
TAGGED = "SELECT project, name, tags FROM models WHERE tags <> '{}' ORDER BY project, name FOR NO KEY UPDATE"
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
# One evaluation.
FIND_EVALUATION = "SELECT id, digest, passed, champion_digest FROM evaluations WHERE project = $1 AND id = $2"
# Models with the count of their versions and their aliases, by name; a text is looked for in name, labels and card.
MODELS = """
SELECT m.name, m.project, m.task_type, m.created_at, m.updated_at, m.archived_at IS NOT NULL AS archived,
    coalesce(m.tags, '{}') AS tags,
    (SELECT count(*) FROM versions v
     WHERE v.project = m.project AND v.model = m.name AND v.deleted_at IS NULL) AS versions,
    (SELECT coalesce(jsonb_object_agg(a.alias, a.version), '{}') FROM aliases a
     WHERE a.project = m.project AND a.model = m.name) AS aliases
FROM models m WHERE m.project = $1 AND ($2::text IS NULL OR m.name = $2)
AND ($3::boolean IS NULL OR (m.archived_at IS NOT NULL) = $3) AND ($4 = '' OR m.task_type = $4)
AND ($6::text IS NULL OR $6 = ANY(m.tags)) AND ($5 = '' OR strpos(lower(m.name), lower($5)) > 0 OR EXISTS (
    SELECT FROM versions v WHERE v.project = m.project AND v.model = m.name AND v.deleted_at IS NULL
    AND strpos(lower(v.labels::text || v.card::text), lower($5)) > 0))
ORDER BY m.name LIMIT 1000
"""
# The same as it was at a time.
MODELS_AS_OF = as_they_were(7, "models", "versions", "aliases") + MODELS
# Versions of a model below a number, newest first, with their aliases and the newest evaluation of their digest.
VERSIONS = """
SELECT v.model, v.version, v.digest, v.task_id, v.task_type, coalesce(v.dataset, '') AS dataset,
    coalesce(v.dataset_digest, '') AS dataset_digest, v.code_version, v.parameters, v.metrics, v.labels, v.signature,
    v.gate, v.card, v.source, v.derived_from, v.actor, v.archived_at IS NOT NULL AS archived, v.created_at,
    ARRAY(SELECT a.alias FROM aliases a
          WHERE a.project = v.project AND a.model = v.model AND a.version = v.version ORDER BY a.alias) AS aliases,
    coalesce(e.id, '') AS evaluation_id, e.passed AS evaluation_passed
FROM versions v LEFT JOIN LATERAL (
    SELECT id, passed FROM evaluations e WHERE e.project = v.project AND e.model = v.model AND e.digest = v.digest
    ORDER BY e.recorded_at DESC LIMIT 1
) e ON true
WHERE v.project = $1 AND v.model = $2 AND ($3::integer IS NULL OR v.version < $3) AND v.deleted_at IS NULL
AND ($5::boolean IS NULL OR (v.archived_at IS NOT NULL) = $5) AND ($6 = '' OR v.dataset = $6)
AND ($7::text IS NULL OR v.source = $7)
AND ($8 = '' OR strpos(lower(v.labels::text || v.card::text), lower($8)) > 0)
ORDER BY v.version DESC LIMIT $4
"""
# Keep a data set; nothing comes back when it is known.
INSERT_DATASET = """
INSERT INTO datasets (project, name, digest, parts, facts) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING digest
"""
# A data set by its digest, or the newest of its name; note that somebody uses it.
FIND_DATASET = """
UPDATE datasets SET used_at = now() WHERE (project, name, digest) = (
    SELECT project, name, digest FROM datasets
    WHERE project = $1 AND name = $2 AND ($3::text IS NULL OR digest = $3) ORDER BY created_at DESC LIMIT 1
) RETURNING name, digest, parts, facts, created_at
"""
# Data sets, newest first, without what is long of their facts.
DATASETS = """
SELECT name, digest, parts, facts - 'profile' - 'preview' AS facts, created_at FROM datasets
WHERE project = $1 AND ($2::text IS NULL OR name = $2) ORDER BY created_at DESC, name LIMIT $3
"""
# The artifacts that versions and data sets of all projects name.
NAMED_ARTIFACTS = """
SELECT digest FROM versions WHERE deleted_at IS NULL
UNION SELECT part.value FROM datasets, jsonb_each_text(parts) AS part
"""
# How often what each project's versions and data sets name has changed.
STORAGE_MARKS = "SELECT project, changes FROM storage_marks"
# The artifacts that a project's versions and data sets name, each once.
HELD = """
SELECT digest FROM versions WHERE project = $1 AND deleted_at IS NULL
UNION SELECT part.value FROM datasets, jsonb_each_text(parts) AS part WHERE project = $1
"""
# Data sets without a version that nobody asked for within the time of grace.
UNUSED_DATASETS = """
SELECT project, name, digest FROM datasets d
WHERE used_at < now() - make_interval(secs => $2) AND created_at < now() - make_interval(secs => $2)
AND NOT name = ANY($1) AND NOT EXISTS (
    SELECT FROM versions v WHERE v.project = d.project AND v.dataset = d.name AND v.dataset_digest = d.digest
    AND v.deleted_at IS NULL)
ORDER BY project, name, digest LIMIT 1000 FOR UPDATE SKIP LOCKED
"""
# Deleted versions forget their data set, so that it can go.
LOSE_DATASET = """
UPDATE versions SET dataset = NULL, dataset_digest = NULL
WHERE project = $1 AND dataset = $2 AND dataset_digest = $3 AND deleted_at IS NOT NULL
"""
# Forget a data set.
DELETE_DATASET = "DELETE FROM datasets WHERE project = $1 AND name = $2 AND digest = $3"


def _version(row: asyncpg.Record) -> Version:
    return Version(row["version"], row["digest"], row["archived"])


async def lock_model(tx: Connection, project: str, model: str) -> None:
    """Raises NotFound."""
    if await tx.fetchval(LOCK_MODEL, project, model) is None:
        raise NotFound(f"there is no model {model!r}", field="model")


async def lock_or_make_model(tx: Connection, project: str, model: str, task_type: str) -> bool:
    """Returns whether it is archived."""
    return bool(await tx.fetchval(UPSERT_MODEL, project, model, task_type))


async def has_version_of_task(tx: Connection, project: str, task_id: str) -> bool:
    return await tx.fetchval(VERSION_OF_TASK, project, task_id) is not None


async def insert_version(tx: Connection, project: str, described: Described, actor: str) -> int:
    """Returns the number; the model must be locked."""
    fields = described.model_dump(mode="json")
    names = ("model", "digest", "task_id", "task_type", "dataset", "dataset_digest", "code_version")
    documents = ("parameters", "metrics", "labels", "signature", "gate", "card", "source", "derived_from")
    return int(await tx.fetchval(INSERT_VERSION, project, *(fields[name] for name in (*names, *documents)), actor))


async def version_of_digest(tx: Connection, project: str, model: str, digest: str) -> int | None:
    found: int | None = await tx.fetchval(VERSION_OF_DIGEST, project, model, digest)
    return found


async def references(tx: Connection, project: str, model: str, dataset: str | None) -> list[Reference]:
    """Versions that a brought one may be evaluated like."""
    return [_reference(row) for row in await tx.fetch(REFERENCES, project, model, dataset)]


def _reference(row: asyncpg.Record) -> Reference:
    documents = {
        "labels": tuple(row["labels"]),
        "signature": Signature.model_validate(row["signature"]),
        "gate": tuple(GateCondition.model_validate(condition) for condition in row["gate"]),
    }
    return Reference(**(dict(row) | documents))


async def archive_model(tx: Connection, project: str, model: str, archived: bool) -> bool:
    """Whether that changed anything."""
    return await tx.fetchval(ARCHIVE_MODEL, project, model, archived) is not None


async def archive_version(tx: Connection, project: str, model: str, number: int, archived: bool) -> bool:
    """Whether that changed anything."""
    return await tx.fetchval(ARCHIVE_VERSION, project, model, number, archived) is not None


async def set_tags(tx: Connection, project: str, model: str, tags: list[str]) -> bool:
    """Whether that changed anything."""
    return await tx.fetchval(SET_TAGS, project, model, tags) is not None


async def tagged(tx: Connection) -> list[tuple[str, str, list[str]]]:
    """Project, name and tags of models, locked."""
    return [tuple(row) for row in await tx.fetch(TAGGED)]


async def delete_version(tx: Connection, project: str, model: str, number: int) -> None:
    await tx.execute(DELETE_ALIASES, project, model, number)
    await tx.execute(DELETE_VERSION, project, model, number)
    await tx.execute(TOUCH_MODEL, project, model)


async def evaluated(tx: Connection, project: str, model: str, digest: str) -> tuple[str, dict[str, Any]]:
    """Data set and metrics of the newest evaluation; nothing where there is none."""
    row = await tx.fetchrow(EVALUATED, project, model, digest)
    return ("", {}) if row is None else (row["dataset_digest"], row["metrics"])


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


async def find_evaluation(tx: Connection, project: str, evaluation_id: str) -> Evaluation | None:
    row = await tx.fetchrow(FIND_EVALUATION, project, evaluation_id)
    return None if row is None else Evaluation(**dict(row))


async def list_models(tx: Connection, project: str, request: ListModels) -> list[ModelView]:
    filters = (None, request.archived, request.task_type, request.q, request.tag)
    if request.as_of is None:
        rows = await tx.fetch(MODELS, project, *filters)
    else:
        await check_history(tx, request.as_of)
        rows = await tx.fetch(MODELS_AS_OF, project, *filters, request.as_of)
    return [ModelView(**dict(row)) for row in rows]


async def get_model(tx: Connection, project: str, model: str, as_of: datetime | None = None) -> ModelView:
    """Raises NotFound."""
    if as_of is None:
        row = await tx.fetchrow(MODELS, project, model, None, "", "", None)
    else:
        await check_history(tx, as_of)
        row = await tx.fetchrow(MODELS_AS_OF, project, model, None, "", "", None, as_of)
    if row is None:
        raise NotFound(f"there is no model {model!r}", field="model")
    return ModelView(**dict(row))


async def list_versions(tx: Connection, project: str, asked: ListVersions) -> list[VersionView]:
    where = (asked.before, asked.limit, asked.archived, asked.dataset, asked.source, asked.q)
    return [VersionView(**dict(row)) for row in await tx.fetch(VERSIONS, project, asked.model, *where)]


async def get_version(tx: Connection, project: str, model: str, number: int) -> VersionView:
    """Raises NotFound."""
    await find_version(tx, project, model, number)
    row = await tx.fetchrow(VERSIONS, project, model, number + 1, 1, None, "", None, "")
    assert row is not None
    return VersionView(**dict(row))


async def insert_dataset(tx: Connection, project: str, dataset: RegisterDataset) -> bool:
    """Whether the data set was new."""
    fields: tuple[Any, ...] = (dataset.name, dataset.digest, dataset.parts, dataset.facts)
    return await tx.fetchval(INSERT_DATASET, project, *fields) is not None


async def find_dataset(tx: Connection, project: str, name: str, digest: str | None) -> DatasetView | None:
    row = await tx.fetchrow(FIND_DATASET, project, name, digest)
    return None if row is None else DatasetView(**dict(row))


async def list_datasets(tx: Connection, project: str, name: str | None, limit: int) -> list[DatasetView]:
    return [DatasetView(**dict(row)) for row in await tx.fetch(DATASETS, project, name, limit)]


async def named_artifacts(tx: Connection) -> set[str]:
    return {row["digest"] for row in await tx.fetch(NAMED_ARTIFACTS)}


async def unused_datasets(tx: Connection, in_use: set[str], grace_seconds: float) -> list[tuple[str, str, str]]:
    """Project, name and digest of data sets that may go, locked."""
    return [tuple(row) for row in await tx.fetch(UNUSED_DATASETS, sorted(in_use), grace_seconds)]


async def delete_datasets(tx: Connection, datasets: list[tuple[str, str, str]]) -> None:
    await tx.executemany(LOSE_DATASET, datasets)
    await tx.executemany(DELETE_DATASET, datasets)


async def storage_marks(tx: Connection) -> dict[str, int]:
    return {row["project"]: row["changes"] for row in await tx.fetch(STORAGE_MARKS)}


async def held(tx: Connection, project: str) -> set[str]:
    return {row["digest"] for row in await tx.fetch(HELD, project)}
