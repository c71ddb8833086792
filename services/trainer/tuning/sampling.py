"""Draws the parameters of the next trial, from the trials before it alone.

So a study that goes on after a crash draws what it would have drawn. Optuna is imported when a study needs it.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from services.trainer.tuning.domain import Study, Trial, TrialState
from services.trainer.tuning.space import Dimension, Space
from shared.tuning import Objective, Sampler

if TYPE_CHECKING:
    import cmaes
    import optuna
    from optuna.distributions import BaseDistribution

SEEDS = 2**31
STEP = 1 / 6
LEAST_AT_RANDOM, MOST_AT_RANDOM = 4, 10


@dataclass(frozen=True)
class Draw:
    """The parameters of a trial, and of which generation they are where there are some."""

    parameters: dict[str, Any]
    generation: int | None = None


def draw(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial], usual: Mapping[str, Any]) -> Draw:
    """The next trial's parameters; the first one tries what is `usual`, the member's own, where the ranges hold it.

    Blocks for as long as the sampler thinks.
    """
    number = len(trials)
    if study.sampler is Sampler.GRID:
        return Draw(_point_of_grid(study, number))
    if number == 0 and all(dimension.holds(usual[name]) for name, dimension in study.space.items()):
        return Draw({name: usual[name] for name in study.space})
    if study.sampler is Sampler.CMAES:
        return _draw_by_evolution(study, objectives, trials)
    asked = as_optuna(study, objectives, trials, _sampler(study, number)).ask(_distributions(study.space))
    return Draw(dict(asked.params))


def as_optuna(
    study: Study, objectives: Sequence[Objective], trials: Sequence[Trial], sampler: "optuna.samplers.BaseSampler"
) -> "optuna.Study":
    """The study as Optuna sees it, in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [one.direction or "minimize" for one in objectives] or ["minimize"] * max(1, len(study.objectives))
    made = optuna.create_study(sampler=sampler, directions=directions)
    space = _distributions(study.space)
    made.add_trials([_as_optuna(trial, space) for trial in trials])
    return made


def _as_optuna(trial: Trial, space: "dict[str, BaseDistribution]") -> "optuna.trial.FrozenTrial":
    """One that was pruned counts by the last value of its curve; one that failed says nothing."""
    from optuna.trial import TrialState as Told
    from optuna.trial import create_trial

    curve: dict[int, float] = {}
    state = Told.RUNNING if trial.goes_on else Told.FAIL
    if trial.state is TrialState.SUCCEEDED and trial.values:
        state = Told.COMPLETE
    elif trial.state is TrialState.PRUNED and trial.curve:
        state, curve = Told.PRUNED, trial.curve
    values = list(trial.values) if state is Told.COMPLETE else None
    return create_trial(
        state=state, values=values, params=trial.parameters, distributions=space, intermediate_values=curve
    )


def _sampler(study: Study, number: int) -> "optuna.samplers.BaseSampler":
    from optuna import samplers

    seed = seed_of(study.seed, number)
    if study.sampler is Sampler.RANDOM:
        return samplers.RandomSampler(seed=seed)
    at_random = max(LEAST_AT_RANDOM, min(MOST_AT_RANDOM, study.trials // 4))
    return samplers.TPESampler(seed=seed, n_startup_trials=at_random)


def _distributions(space: Space) -> "dict[str, BaseDistribution]":
    return {name: _distribution(dimension) for name, dimension in space.items()}


def _distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna import distributions

    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        return distributions.IntDistribution(int(dimension.minimum), int(dimension.maximum), log=dimension.log)
    return distributions.FloatDistribution(dimension.minimum, dimension.maximum, log=dimension.log)


def seed_of(seed: int, number: int) -> int:
    """Another one for each trial, and the same for the same trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:8], "big") % SEEDS


def _point_of_grid(study: Study, number: int) -> dict[str, Any]:
    """All points in an order by the seed, so that a part of them is a fair one."""
    points = list(product(*(dimension.values() for dimension in study.space.values())))
    random.Random(study.seed).shuffle(points)
    return dict(zip(study.space, points[number], strict=True))


def _draw_by_evolution(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial]) -> Draw:
    """CMA-ES as Optuna's, which pickles its state: here the state follows from the generations that have ended."""
    number = len(trials)
    chance = random.Random(seed_of(study.seed, number))
    chosen = {name: chance.choice(one.choices) for name, one in study.space.items() if one.kind == "choice"}
    ranges = {name: dimension for name, dimension in study.space.items() if dimension.kind != "choice"}
    if len(ranges) < 2:
        return Draw(chosen | {name: one.at(chance.random()) for name, one in ranges.items()})
    optimiser = _evolved(ranges, objectives, trials, seed_of(study.seed, number))
    places = map(float, optimiser.ask())
    drawn = {name: one.at(place) for (name, one), place in zip(ranges.items(), places, strict=True)}
    return Draw(chosen | drawn, optimiser.generation)


def _evolved(ranges: Space, objectives: Sequence[Objective], trials: Sequence[Trial], seed: int) -> "cmaes.CMA":
    import numpy as np
    from cmaes import CMA

    bounds = np.array([[0.0, 1.0]] * len(ranges))
    optimiser = CMA(mean=np.full(len(ranges), 0.5), sigma=STEP, bounds=bounds, seed=seed)
    while len(ended := _ended(trials, optimiser.generation)) >= optimiser.population_size:
        sign = -1 if objectives[0].direction == "maximize" else 1
        told = ended[: optimiser.population_size]
        places = [np.array([one.place(trial.parameters[name]) for name, one in ranges.items()]) for trial in told]
        optimiser.tell([(place, sign * trial.values[0]) for place, trial in zip(places, told, strict=True)])
    return optimiser


def _ended(trials: Sequence[Trial], generation: int) -> list[Trial]:
    found = [trial for trial in trials if trial.generation == generation and trial.state is TrialState.SUCCEEDED]
    return [trial for trial in found if trial.values]
