"""Tasks side by side: what differs in their parameters, their last figures, their curves over each other. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from shared.rpc.curves import Curve, CurvesView
from shared.rpc.tasks import TaskView


class ComparedTask(BaseModel):
    """One of the tasks."""

    id: str
    kind: str
    model: str
    state: str
    note: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Comparison(BaseModel):
    """By name and then by task: parameters that differ, last figures, curves; `same` are the parameters of all."""

    tasks: list[ComparedTask]
    parameters: dict[str, dict[str, Any]]
    same: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    curves: dict[str, dict[str, Curve]]


def compared(found: Sequence[tuple[TaskView, CurvesView]]) -> Comparison:
    tasks = [task for task, _ in found]
    given = by_name({task.id: task.parameters for task in tasks})
    same = {name: next(iter(values.values())) for name, values in given.items() if _agree(values, len(tasks))}
    curves = by_name({task.id: {_label(curve): curve for curve in view.curves} for task, view in found})
    return Comparison(
        tasks=[ComparedTask(**task.model_dump()) for task in tasks],
        parameters={name: values for name, values in given.items() if name not in same},
        same=same,
        metrics=by_name({task.id: last_figures(task, view) for task, view in found}),
        curves=curves,
    )


def by_name(of_tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    names = sorted({name for values in of_tasks.values() for name in values})
    return {name: {task: values[name] for task, values in of_tasks.items() if name in values} for name in names}


def _agree(values: Mapping[str, Any], tasks: int) -> bool:
    first = next(iter(values.values()))
    return len(values) == tasks and all(value == first for value in values.values())


def _label(curve: Curve) -> str:
    return curve.name if curve.per == "step" else f"epoch/{curve.name}"


def last_figures(task: TaskView, view: CurvesView) -> dict[str, float]:
    """What the task says of its end, and of what it does not the last point that there is so far."""
    last = {_label(curve): curve.y[-1] for curve in view.curves if curve.y}
    said = task.result.get("metrics", {})
    return last | {name: value for name, value in said.items() if isinstance(value, int | float)}
