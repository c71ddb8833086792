"""All SQL of runs, of their experiments, models and files."""

from collections.abc import Sequence
from typing import Any

from services.trainer.runs.domain import DEFAULT_EXPERIMENT
from services.trainer.runs.searching import Listing, Wanted, rows
from shared.db import Connection
from shared.errors import Conflict, InvalidInput, NotFound
from shared.rpc.runs import ExperimentView, LoggedModel, Measured, RunFile, RunView

FILES_MOST = 10_000
_STATUS = """(CASE WHEN t.state = 'TASK_STATE_RUNNING' OR r.status IN ('FINISHED', 'FAILED', 'KILLED') THEN r.status
    WHEN t.state = 'TASK_STATE_CANCELLED' THEN 'KILLED' ELSE 'FAILED' END)"""
_PARAMETERS = "coalesce(t.spec -> 'parameters', '{}'::jsonb)"


EXPERIMENT = """
SELECT number::text AS id, name, lifecycle, tags, (extract(epoch FROM created_at) * 1000)::bigint AS created_at,
    (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at FROM experiments
"""
RUN = f"""
SELECT r.task_id AS id, r.experiment::text AS experiment, r.name, r.said_by AS "user", {_STATUS} AS status,
    r.lifecycle, r.start_time AS started_at,
    coalesce(r.end_time, (extract(epoch FROM t.ended_at) * 1000)::bigint) AS ended_at,
    {_PARAMETERS} AS parameters, r.tags, r.metrics, r.inputs, r.outputs
FROM runs r JOIN tasks t ON t.id = r.task_id
"""
MODEL = """
SELECT id, experiment::text AS experiment, name, model_type, run_id AS run, status, tags, params, metrics,
    (extract(epoch FROM created_at) * 1000)::bigint AS created_at,
    (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at FROM logged_models r
"""
EXPERIMENTS = Listing(
    EXPERIMENT + "WHERE project = $1",
    {
        "name": "name",
        "experiment_id": "number::text",
        "creation_time": "extract(epoch FROM created_at) * 1000",
        "last_update_time": "extract(epoch FROM updated_at) * 1000",
    },
    {"tag": "tags"},
    "lifecycle",
    "updated_at DESC, number DESC",
)
RUNS = Listing(
    RUN + "WHERE r.project = $1 AND r.experiment = ANY($2)",
    {
        **dict.fromkeys(("run_id", "run_uuid"), "r.task_id"),
        **dict.fromkeys(("run_name", "name"), "r.name"),
        "status": _STATUS,
        "user_id": "r.said_by",
        **dict.fromkeys(("start_time", "created", "Created"), "r.start_time"),
        "end_time": "r.end_time",
    },
    {"param": _PARAMETERS, "tag": "r.tags", "metric": "r.metrics"},
    "r.lifecycle",
    "r.start_time DESC, r.task_id DESC",
)
MODELS = Listing(
    MODEL + "WHERE project = $1 AND experiment = ANY($2)",
    {
        "name": "name",
        "model_id": "id",
        "model_type": "model_type",
        "status": "replace(status, 'LOGGED_MODEL_', '')",
        "source_run_id": "run_id",
        **dict.fromkeys(("creation_time", "creation_timestamp"), "extract(epoch FROM created_at) * 1000"),
        "last_updated_timestamp": "extract(epoch FROM updated_at) * 1000",
    },
    {"param": "params", "tag": "tags", "metric": "metrics"},
    "lifecycle",
    "created_at DESC, id DESC",
)
# Every project has the experiment of those who name none.
DEFAULT = "INSERT INTO experiments (project, number, name) VALUES ($1, $2, 'Default') ON CONFLICT DO NOTHING"
INSERT_EXPERIMENT = """
INSERT INTO experiments (project, name, tags) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING number
"""
CHANGE_EXPERIMENT = """
UPDATE experiments SET name = $3, lifecycle = $4, tags = $5, updated_at = now() WHERE project = $1 AND number = $2
"""
INSERT_RUN = """
INSERT INTO runs (task_id, project, experiment, name, said_by, start_time, tags) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
CHANGE_RUN = """
UPDATE runs SET name = $2, status = $3, end_time = $4, lifecycle = $5, heard_at = now() WHERE task_id = $1
"""
SAY = """
UPDATE runs SET tags = $2, metrics = $3, inputs = inputs || $4, outputs = outputs || $5, name = $6, heard_at = now()
WHERE task_id = $1
"""
SET_PARAMETERS = "UPDATE tasks SET spec = spec || jsonb_build_object('parameters', $2::jsonb) WHERE id = $1"
# Runs that go on, of which nothing was heard for so many seconds.
SILENT = """
SELECT r.task_id, r.project FROM runs r JOIN tasks t ON t.id = r.task_id
WHERE t.state = 'TASK_STATE_RUNNING' AND r.heard_at < now() - make_interval(secs => $1) LIMIT 100
"""
# Whether nothing was heard of one run for so long.
IS_SILENT = "SELECT heard_at < now() - make_interval(secs => $2) FROM runs WHERE task_id = $1"
INSERT_MODEL = """
INSERT INTO logged_models (id, project, experiment, name, model_type, run_id, status, tags, params)
VALUES ($1, $2, $3, $4, $5, $6, 'LOGGED_MODEL_PENDING', $7, $8)
"""
CHANGE_MODEL = """
UPDATE logged_models SET status = $3, lifecycle = $4, tags = $5, params = $6, metrics = $7, updated_at = now()
WHERE project = $1 AND id = $2
"""
# A run or a model of this project.
IS_OWNER = """
SELECT EXISTS (SELECT FROM runs WHERE project = $1 AND task_id = $2)
    OR EXISTS (SELECT FROM logged_models WHERE project = $1 AND id = $2)
"""
COUNT_FILES = "SELECT count(*) FROM run_files WHERE project = $1 AND owner = $2"
KEEP_FILE = """
INSERT INTO run_files (project, path, owner, digest, size) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, path) DO UPDATE SET digest = excluded.digest, size = excluded.size, kept_at = now()
"""
# A client that brings files is alive.
HEARD = "UPDATE runs SET heard_at = now() WHERE task_id = $1"
FIND_FILE = "SELECT path AS name, size, digest FROM run_files WHERE project = $1 AND path = $2"
# The first names below a path: files with their sizes, folders without.
LIST_FILES = """
SELECT part AS name, max(size) FILTER (WHERE rest = part) AS size FROM (
    SELECT substr(path, length($2) + 2) AS rest, split_part(substr(path, length($2) + 2), '/', 1) AS part, size
    FROM run_files WHERE project = $1 AND owner = $3 AND starts_with(path, $2 || '/')
) AS below GROUP BY part ORDER BY part
"""
DROP_FILES = """
DELETE FROM run_files WHERE project = $1 AND owner = $3 AND (path = $2 OR starts_with(path, $2 || '/'))
"""


async def default_experiment(tx: Connection, project: str) -> None:
    await tx.execute(DEFAULT, project, DEFAULT_EXPERIMENT)


async def create_experiment(tx: Connection, project: str, name: str, tags: dict[str, str]) -> int:
    """Raises Conflict for a name that there is."""
    number: int | None = await tx.fetchval(INSERT_EXPERIMENT, project, name, tags)
    if number is None:
        raise Conflict(f"there is an experiment {name!r}", field="name")
    return number


async def experiment(tx: Connection, project: str, number: int) -> ExperimentView:
    """Raises NotFound."""
    row = await tx.fetchrow(EXPERIMENT + "WHERE project = $1 AND number = $2", project, number)
    if row is None:
        raise NotFound(f"there is no experiment {number}", field="experiment_id")
    return ExperimentView(**dict(row))


async def experiment_named(tx: Connection, project: str, name: str) -> ExperimentView:
    """Raises NotFound."""
    row = await tx.fetchrow(EXPERIMENT + "WHERE project = $1 AND name = $2", project, name)
    if row is None:
        raise NotFound(f"there is no experiment {name!r}", field="experiment_name")
    return ExperimentView(**dict(row))


async def change_experiment(tx: Connection, project: str, changed: ExperimentView) -> None:
    facts = (changed.name, changed.lifecycle, changed.tags)
    await tx.execute(CHANGE_EXPERIMENT, project, int(changed.id), *facts)


async def insert_run(tx: Connection, project: str, run: RunView) -> None:
    facts = (int(run.experiment), run.name, run.user, run.started_at, run.tags)
    await tx.execute(INSERT_RUN, run.id, project, *facts)


async def run(tx: Connection, project: str, task_id: str) -> RunView:
    """Raises NotFound."""
    row = await tx.fetchrow(RUN + "WHERE r.project = $1 AND r.task_id = $2", project, task_id)
    if row is None:
        raise NotFound(f"there is no run {task_id}", field="run_id")
    return _run(row)


def _run(row: Any) -> RunView:
    return RunView(**(dict(row) | {"metrics": measured(row["metrics"])}))


def measured(last: dict[str, Any]) -> list[Measured]:
    return [Measured(name=name, **facts) for name, facts in last.items()]


def as_json(metrics: Sequence[Measured]) -> dict[str, Any]:
    return {metric.name: {"value": metric.value, "step": metric.step, "at": metric.at} for metric in metrics}


async def change_run(tx: Connection, changed: RunView) -> None:
    facts = (changed.name, changed.status, changed.ended_at, changed.lifecycle)
    await tx.execute(CHANGE_RUN, changed.id, *facts)


async def say(tx: Connection, changed: RunView, inputs: list[Any], outputs: list[Any]) -> None:
    """Keep what was added to a run; its inputs and outputs grow."""
    await tx.execute(SAY, changed.id, changed.tags, as_json(changed.metrics), inputs, outputs, changed.name)


async def set_parameters(tx: Connection, task_id: str, parameters: dict[str, str]) -> None:
    await tx.execute(SET_PARAMETERS, task_id, parameters)


async def silent(tx: Connection, seconds: float) -> list[tuple[str, str]]:
    return [(row["task_id"], row["project"]) for row in await tx.fetch(SILENT, seconds)]


async def is_silent(tx: Connection, task_id: str, seconds: float) -> bool:
    return bool(await tx.fetchval(IS_SILENT, task_id, seconds))


async def insert_model(tx: Connection, project: str, model: LoggedModel) -> None:
    facts = (int(model.experiment), model.name, model.model_type, model.run, model.tags, model.params)
    await tx.execute(INSERT_MODEL, model.id, project, *facts)


async def model(tx: Connection, project: str, model_id: str) -> LoggedModel:
    """One model, locked; raises NotFound."""
    query = MODEL + "WHERE project = $1 AND id = $2 AND lifecycle = 'active' FOR UPDATE"
    row = await tx.fetchrow(query, project, model_id)
    if row is None:
        raise NotFound(f"there is no model {model_id}", field="model_id")
    return _model(row)


def _model(row: Any) -> LoggedModel:
    return LoggedModel(**(dict(row) | {"metrics": measured(row["metrics"])}))


async def change_model(tx: Connection, project: str, changed: LoggedModel, lifecycle: str = "active") -> None:
    facts = (changed.status, lifecycle, changed.tags, changed.params, as_json(changed.metrics))
    await tx.execute(CHANGE_MODEL, project, changed.id, *facts)


async def search_experiments(tx: Connection, project: str, wanted: Wanted) -> list[ExperimentView]:
    return [ExperimentView(**dict(row)) for row in await rows(tx, EXPERIMENTS, [project], wanted)]


async def search_runs(tx: Connection, project: str, experiments: list[int], wanted: Wanted) -> list[RunView]:
    return [_run(row) for row in await rows(tx, RUNS, [project, experiments], wanted)]


async def search_models(tx: Connection, project: str, experiments: list[int], wanted: Wanted) -> list[LoggedModel]:
    return [_model(row) for row in await rows(tx, MODELS, [project, experiments], wanted)]


async def keep_file(tx: Connection, project: str, owner: str, path: str, digest: str, size: int) -> None:
    """Raises NotFound for a file of nobody, InvalidInput for one too many."""
    if not await tx.fetchval(IS_OWNER, project, owner):
        raise NotFound(f"there is no run or model {owner}", field="path")
    if await tx.fetchval(COUNT_FILES, project, owner) >= FILES_MOST:
        raise InvalidInput(f"a run or a model has at most {FILES_MOST} files", field="path")
    await tx.execute(KEEP_FILE, project, path, owner, digest, size)
    await tx.execute(HEARD, owner)


async def file(tx: Connection, project: str, path: str) -> RunFile:
    """Raises NotFound."""
    row = await tx.fetchrow(FIND_FILE, project, path)
    if row is None:
        raise NotFound("there is no such file", field="path")
    return RunFile(**dict(row))


async def files(tx: Connection, project: str, owner: str, path: str) -> list[RunFile]:
    return [RunFile(**dict(row)) for row in await tx.fetch(LIST_FILES, project, path, owner)]


async def drop_files(tx: Connection, project: str, owner: str, path: str) -> None:
    await tx.execute(DROP_FILES, project, path, owner)
