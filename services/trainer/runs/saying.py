"""What a client says of a run while it goes on: scalars into the series of its task, texts into its rows."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby

from services.trainer.parts import Work
from services.trainer.runs import domain, store
from shared.rpc.runs import GetHistory, History, LogRun, Measured, RunView
from shared.series import store as series
from shared.series.columns import Columns
from shared.tasks import store as tasks

UNHELD = 0
RUN_NAME, HISTORY = "mlflow.runName", "mlflow.log-model.history"
STEP_MOST = 2**63 - 1


async def log_run(request: LogRun, work: Work) -> None:
    """Raises InvalidInput for a parameter that was another, Conflict for a run that people have cancelled."""
    task = await tasks.find(work.tx, work.project, request.id, lock=True)
    known = await store.run(work.tx, work.project, request.id)
    domain.check_open(task.state)
    for name, said in groupby(sorted(request.metrics, key=lambda metric: metric.name), lambda metric: metric.name):
        await _append(work, task.id, name, _columns(list(said)))
    if request.parameters:
        parameters = domain.with_parameters(known.parameters, request.parameters)
        await store.set_parameters(work.tx, task.id, parameters)
    last = domain.latest({metric.name: _facts(metric) for metric in known.metrics}, request.metrics)
    changes = {
        "tags": domain.with_texts(known.tags, request.tags | _described(known, request), request.dropped),
        "metrics": store.measured(last),
        "name": request.tags.get(RUN_NAME, known.name),
    }
    domain.check_number(len(known.inputs) + len(request.inputs))
    domain.check_number(len(known.outputs) + len(request.outputs))
    await store.say(work.tx, known.model_copy(update=changes), request.inputs, request.outputs)
    await _note_models(request.metrics, work)


def _described(known: RunView, request: LogRun) -> dict[str, str]:
    """The tag in which clients look for what was said of models."""
    if not request.described:
        return {}
    return {HISTORY: domain.with_description(known.tags.get(HISTORY, "[]"), request.described)}


async def _append(work: Work, task_id: str, name: str, points: Columns) -> None:
    """A client that heard no answer says the same again."""
    if not await series.ends_with(work.tx, task_id, UNHELD, name, points):
        await series.append(work.tx, task_id, UNHELD, name, points)


def _columns(said: list[Measured]) -> Columns:
    now = datetime.now(UTC).timestamp()
    times = [metric.at / 1000 or now for metric in said]
    return Columns.of([metric.step for metric in said], times, [metric.value for metric in said])


def _facts(metric: Measured) -> dict[str, float]:
    return {"value": metric.value, "step": metric.step, "at": metric.at}


async def _note_models(metrics: Iterable[Measured], work: Work) -> None:
    """Scalars that a client said of a model stand at the model, too."""
    for model_id, said in groupby(sorted(metrics, key=lambda metric: metric.model), lambda metric: metric.model):
        if model_id:
            known = await store.model(work.tx, work.project, model_id)
            last = domain.latest({metric.name: _facts(metric) for metric in known.metrics}, said)
            await store.change_model(work.tx, work.project, known.model_copy(update={"metrics": store.measured(last)}))


async def history(request: GetHistory, work: Work) -> History:
    """All points of a series, in the order in which they were said, a page at a time."""
    points = series.joined(await series.read(work.tx, request.id, request.name, -STEP_MOST, STEP_MOST))
    page = slice(request.offset, request.offset + request.limit)
    shown = zip(points.steps[page].tolist(), points.times[page].tolist(), points.values[page].tolist(), strict=True)
    found = [Measured(name=request.name, step=s, at=max(0, round(t * 1000)), value=v) for s, t, v in shown]
    return History(points=found, after=page.stop if len(points) > page.stop else None)
