"""SQL of pipelines, of their steps, and of what was heard of versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from pydantic import TypeAdapter

from services.trainer.pipelines.domain import Fact, PipelineState, Standing, StepState, needs_approval, waits_for
from shared.context import Context, HasOrigin
from shared.db import Connection
from shared.errors import NotFound
from shared.pipelines import AnyStep, Definition
from shared.rpc.pipelines import PipelineView, StepView

STEP: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)

COLUMNS = "id, project, name, on_failure, context, cloned_from, ending, state, created_at, ended_at"
# Keep a pipeline.
INSERT = f"""
INSERT INTO pipelines (id, project, name, on_failure, context, cloned_from) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING {COLUMNS}
"""
# Keep one of its steps.
INSERT_STEP = "INSERT INTO pipeline_steps (pipeline_id, position, name, spec) VALUES ($1, $2, $3, $4)"
# One pipeline of a project.
FIND = f"SELECT {COLUMNS} FROM pipelines WHERE project = $1 AND id = $2"
# One pipeline of a project, to be changed.
FIND_FOR_UPDATE = FIND + " FOR UPDATE"
# Pipelines of a project, newest first.
LIST = f"""
SELECT {COLUMNS} FROM pipelines
WHERE project = $1 AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR id < $3)
ORDER BY id DESC LIMIT $4
"""
# The steps of some pipelines in their order.
STEPS = """
SELECT pipeline_id, name, spec, state, task_id, model, version, note, error_class, error_message, approved_by,
    started_at, ended_at
FROM pipeline_steps WHERE pipeline_id = ANY($1) ORDER BY pipeline_id, position
"""
# A pipeline that was not looked at for a while, for this transaction alone.
DUE = f"""
SELECT {COLUMNS} FROM pipelines WHERE ended_at IS NULL AND look_at <= clock_timestamp()
ORDER BY look_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# Whether to look at any pipeline now.
IS_DUE = "SELECT EXISTS (SELECT FROM pipelines WHERE ended_at IS NULL AND look_at <= clock_timestamp())"
# When to look at a pipeline again.
LOOK_LATER = "UPDATE pipelines SET look_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1"
# Keep how a pipeline will end, and what it is meanwhile.
SET_ENDING = "UPDATE pipelines SET ending = $2, state = 'stopping', look_at = now() WHERE id = $1 AND ended_at IS NULL"
# The pipeline is over.
END = "UPDATE pipelines SET state = $2, ended_at = now() WHERE id = $1"
# Keep where a step stands.
SAVE_STEP = """
UPDATE pipeline_steps SET state = $3, task_id = $4, model = $5, version = $6, note = $7, error_class = $8,
    error_message = $9, started_at = coalesce(started_at, CASE WHEN $10 THEN now() END),
    ended_at = CASE WHEN $11 THEN coalesce(ended_at, now()) END
WHERE pipeline_id = $1 AND name = $2
"""
# Somebody approved of a step; the pipeline is looked at now.
APPROVE = "UPDATE pipeline_steps SET approved_by = $3 WHERE pipeline_id = $1 AND name = $2"
LOOK_NOW = "UPDATE pipelines SET look_at = now() WHERE id = $1"
# Keep what an event tells of a version, where a pipeline goes on that may need it.
KEEP_FACT = """
INSERT INTO version_facts (project, model, version, event, about, data) SELECT $1, $2, $3, $4, $5, $6
WHERE EXISTS (SELECT FROM pipelines WHERE project = $1 AND ended_at IS NULL) ON CONFLICT DO NOTHING
"""
# The pipelines of a project are looked at now; one that is locked is looked at already, and soon again.
WAKE = """
UPDATE pipelines SET look_at = now() WHERE id IN (
    SELECT id FROM pipelines WHERE project = $1 AND ended_at IS NULL AND look_at > now() FOR UPDATE SKIP LOCKED
)
"""
# The version that a task made.
MADE_BY = """
SELECT model, version FROM version_facts WHERE project = $1 AND event = 'version_registered' AND about = $2
"""
# What is known of a version.
FACTS = "SELECT event, about, data FROM version_facts WHERE project = $1 AND model = $2 AND version = $3"
# Pipelines take days, not months.
PRUNE_FACTS = "DELETE FROM version_facts WHERE at < now() - interval '60 days'"


@dataclass(frozen=True)
class Step:
    """A step of a pipeline: what was asked for, and where it stands."""

    spec: AnyStep
    state: StepState
    task_id: str
    model: str
    version: int | None
    note: str
    error_class: str
    error_message: str
    approved_by: str
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def standing(self) -> Standing:
        unapproved = needs_approval(self.spec) and not self.approved_by
        return Standing(self.name, waits_for(self.spec), self.state, unapproved)

    def view(self) -> StepView:
        spec = self.spec.model_dump(mode="json", exclude={"name", "kind", "after"}, exclude_defaults=True)
        facts = {name: getattr(self, name) for name in StepView.model_fields if hasattr(self, name) and name != "spec"}
        return StepView(**facts, kind=self.spec.kind, after=list(waits_for(self.spec)), spec=spec)


@dataclass(frozen=True)
class Pipeline(HasOrigin):
    """A row of the table pipelines."""

    id: str
    project: str
    name: str
    on_failure: str
    context: dict[str, str]
    cloned_from: str
    ending: PipelineState | None
    state: PipelineState
    created_at: datetime
    ended_at: datetime | None

    def view(self, steps: Sequence[Step]) -> PipelineView:
        facts = {name: getattr(self, name) for name in PipelineView.model_fields if hasattr(self, name)}
        origin = {"actor": self.origin.actor, "correlation_id": self.origin.correlation_id}
        return PipelineView(**facts, **origin, steps=[step.view() for step in steps])


async def insert(
    tx: Connection, pipeline_id: str, definition: Definition, context: Context, cloned_from: str = ""
) -> Pipeline:
    """The request's own limits end here, as those of a task."""
    headers = context.lasting().to_headers()
    facts = (context.project, definition.name, definition.on_failure, headers, cloned_from)
    row = await tx.fetchrow(INSERT, pipeline_id, *facts)
    assert row is not None
    steps = [(pipeline_id, at, step.name, step.model_dump(mode="json")) for at, step in enumerate(definition.steps)]
    await tx.executemany(INSERT_STEP, steps)
    return _pipeline(row)


async def find(tx: Connection, project: str, pipeline_id: str, *, lock: bool = False) -> Pipeline:
    """Raises NotFound."""
    row = await tx.fetchrow(FIND_FOR_UPDATE if lock else FIND, project, pipeline_id)
    if row is None:
        raise NotFound(f"there is no pipeline {pipeline_id}", field="pipeline_id")
    return _pipeline(row)


async def pipelines(
    tx: Connection, project: str, state: str | None, before: str | None, most: int
) -> list[tuple[Pipeline, list[Step]]]:
    found = [_pipeline(row) for row in await tx.fetch(LIST, project, state, before, most)]
    steps = await _steps(tx, [pipeline.id for pipeline in found])
    return [(pipeline, steps[pipeline.id]) for pipeline in found]


async def steps(tx: Connection, pipeline_id: str) -> list[Step]:
    return (await _steps(tx, [pipeline_id]))[pipeline_id]


async def is_due(connection: Connection) -> bool:
    return bool(await connection.fetchval(IS_DUE))


async def due(tx: Connection) -> Pipeline | None:
    row = await tx.fetchrow(DUE)
    return None if row is None else _pipeline(row)


async def look_later(tx: Connection, pipeline_id: str, seconds: float) -> None:
    await tx.execute(LOOK_LATER, pipeline_id, seconds)


async def set_ending(tx: Connection, pipeline_id: str, ending: PipelineState) -> None:
    await tx.execute(SET_ENDING, pipeline_id, ending)


async def end(tx: Connection, pipeline_id: str, state: PipelineState) -> None:
    await tx.execute(END, pipeline_id, state)


async def save_step(tx: Connection, pipeline_id: str, step: Step, *, began: bool, ended: bool) -> None:
    facts = (step.task_id, step.model, step.version, step.note, step.error_class, step.error_message)
    await tx.execute(SAVE_STEP, pipeline_id, step.name, step.state, *facts, began, ended)


async def approve(tx: Connection, pipeline_id: str, step: str, actor: str) -> None:
    await tx.execute(APPROVE, pipeline_id, step, actor)
    await tx.execute(LOOK_NOW, pipeline_id)


async def keep_fact(tx: Connection, project: str, model: str, version: int, fact: Fact) -> None:
    """And have pipelines looked at that may go on by it."""
    await tx.execute(KEEP_FACT, project, model, version, fact.event, fact.about, dict(fact.data))
    await tx.execute(WAKE, project)


async def made_by(tx: Connection, project: str, task_id: str) -> tuple[str, int] | None:
    """Model and number of the version that a task made, once it is registered."""
    row = await tx.fetchrow(MADE_BY, project, task_id)
    return None if row is None else (row["model"], row["version"])


async def facts(tx: Connection, project: str, model: str, version: int) -> list[Fact]:
    return [Fact(**dict(row)) for row in await tx.fetch(FACTS, project, model, version)]


async def _steps(tx: Connection, pipeline_ids: Sequence[str]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {pipeline_id: [] for pipeline_id in pipeline_ids}
    for row in await tx.fetch(STEPS, list(pipeline_ids)):
        found[row["pipeline_id"]].append(_step(row))
    return found


def _pipeline(row: asyncpg.Record) -> Pipeline:
    facts: Mapping[str, Any] = dict(row)
    ending = PipelineState(facts["ending"]) if facts["ending"] else None
    return Pipeline(**{**facts, "ending": ending, "state": PipelineState(facts["state"])})


def _step(row: asyncpg.Record) -> Step:
    facts = {name: value for name, value in row.items() if name not in ("pipeline_id", "name")}
    return Step(**facts | {"spec": STEP.validate_python(facts["spec"]), "state": StepState(facts["state"])})
