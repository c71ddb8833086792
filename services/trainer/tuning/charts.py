"""What is shown of a study: its best trials, what the parameters did, and data of plots, all of it bounded."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from services.trainer.tuning.domain import Study, Trial, TrialState, front
from services.trainer.tuning.sampling import as_optuna
from services.trainer.tuning.space import Dimension
from shared.rpc.trainer import Axis, Contour, Parallel
from shared.tuning import Objective

LEAST_TRIALS = 4
CELLS = 10
MOST_OF_CONTOURS = 4
MOST_POINTS = 1000


def importances(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial]) -> dict[str, float]:
    """How much each parameter mattered for the first objective, all together 1, the most important first.

    PED-ANOVA (Watanabe et al., 2023), which asks what sets the best tenth apart; blocks.
    """
    ended = _ended_well(trials)
    if len(ended) < LEAST_TRIALS or len({trial.values[0] for trial in ended}) < 2:
        return {}
    from optuna import importance, samplers

    seen = as_optuna(study, objectives, ended, samplers.RandomSampler())
    found = importance.get_param_importances(
        seen,
        evaluator=importance.PedAnovaImportanceEvaluator(),
        target=None if len(objectives) == 1 else lambda trial: float(trial.values[0]),
    )
    return {name: round(float(value), 6) for name, value in found.items()}


def parallel(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial]) -> Parallel:
    ended = _ended_well(trials)[:MOST_POINTS]
    if not ended:
        return Parallel()
    values = [trial.values[0] for trial in ended]
    axes = [axis(name, dimension) for name, dimension in study.space.items()]
    axes.append(Axis(name=objectives[0].metric, minimum=min(values), maximum=max(values)))
    lines = [[*(trial.parameters[name] for name in study.space), trial.values[0]] for trial in ended]
    return Parallel(axes=axes, lines=lines)


def contours(study: Study, trials: Sequence[Trial], important: Sequence[str]) -> list[Contour]:
    """Of each pair of the most important parameters."""
    ended = _ended_well(trials)[:MOST_POINTS]
    names = [*important, *(name for name in study.space if name not in important)][:MOST_OF_CONTOURS]
    return [_contour(study, ended, x, y) for x, y in combinations(names, 2)] if ended else []


def axis(name: str, dimension: Dimension) -> Axis:
    if dimension.kind == "choice":
        return Axis(name=name, choices=list(dimension.choices))
    return Axis(name=name, log=dimension.log, minimum=dimension.minimum, maximum=dimension.maximum)


def best_numbers(objectives: Sequence[Objective], trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in front(objectives, trials)] if objectives else []


def _contour(study: Study, trials: Sequence[Trial], x: str, y: str) -> Contour:
    points = [[trial.parameters[x], trial.parameters[y], trial.values[0]] for trial in trials]
    cells: dict[tuple[int, int], list[float]] = {}
    for one, other, value in points:
        cells.setdefault((_cell(study.space[y], other), _cell(study.space[x], one)), []).append(value)
    rows, columns = _cells(study.space[y]), _cells(study.space[x])
    grid = [[_mean(cells.get((row, column), [])) for column in range(columns)] for row in range(rows)]
    return Contour(x=axis(x, study.space[x]), y=axis(y, study.space[y]), points=points, grid=grid)


def _cells(dimension: Dimension) -> int:
    return len(dimension.choices) if dimension.kind == "choice" else CELLS


def _cell(dimension: Dimension, value: Any) -> int:
    if dimension.kind == "choice":
        return dimension.choices.index(value)
    return min(CELLS - 1, int(dimension.place(value) * CELLS))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ended_well(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state is TrialState.SUCCEEDED and trial.values]
