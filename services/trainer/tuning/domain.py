"""What a study is: from its acceptance over the trials to the one that wins; pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import prod
from typing import Any

from pydantic import BaseModel, ConfigDict

from library.base import Gate, Model
from services.trainer.domain import SEED, Plan, plan
from services.trainer.tuning.space import Space, read_space
from shared.errors import InvalidInput
from shared.names import Digest, Slug
from shared.rpc.trainer import SubmitStudy
from shared.tasks.terms import Terms
from shared.training import training_options
from shared.tuning import Budget, Objective, Pruner, Sampler

KIND = "tune"
VALIDATION = "validation_"
FAILED_AT_FIRST = 5
LOSSES = ("loss", "validation_loss", "train_loss")
TRIAL_TERMS = {"priority", "resources", "limits", "retries", "place"}
STUDY_TERMS = {"priority", "after", "tags", "remark"}


class Study(BaseModel):
    """What people see of a study: all that its trials follow from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, Any]
    training: dict[str, Any] = {}
    space: Space
    sampler: Sampler
    objectives: tuple[Objective, ...]
    pruner: Pruner
    budget: Budget
    parallel: int
    seed: int

    @property
    def trials(self) -> int:
        """How many there are at most; no point of a grid is tried twice."""
        points = prod(len(dimension.values()) for dimension in self.space.values())
        return min(self.budget.trials, points) if self.sampler is Sampler.GRID else self.budget.trials


class StudyPlan(BaseModel):
    """All that a study's task keeps; `rested` counts seconds of pauses, which do not count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Slug
    parameters: Study
    auto_promote: bool
    dataset: Slug
    dataset_digest: Digest | None = None
    terms: Terms = Terms()
    paused_at: datetime | None = None
    rested: float = 0


class TrialState(StrEnum):
    """What became of a trial."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


GOES_ON = frozenset({TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED})


@dataclass(frozen=True)
class Trial:
    """A trial as its task is now; `curve` holds the first objective by epoch, `values` all of them at the end."""

    number: int
    task_id: str
    parameters: dict[str, Any]
    state: TrialState
    values: tuple[float, ...] = ()
    curve: dict[int, float] = field(default_factory=dict)
    generation: int | None = None
    error: str = ""

    @property
    def goes_on(self) -> bool:
        return self.state in GOES_ON


def planned(request: SubmitStudy, model: Model[Any]) -> StudyPlan:
    """What was asked for, completed and checked; raises InvalidInput naming the field."""
    plan(model, {SEED: request.seed} | request.config, request.auto_promote, request.training)
    study = Study(
        config=request.config,
        training=training_options(request.training).told(),
        space=read_space(model, without_seed(request.config), request.space),
        sampler=request.sampler,
        objectives=tuple(_directed(model.gate, index, one) for index, one in enumerate(request.objectives)),
        pruner=request.pruner,
        budget=request.budget,
        parallel=request.parallel,
        seed=request.seed,
    )
    _check_several(study)
    terms = Terms(**request.terms.model_dump(include=TRIAL_TERMS))
    return StudyPlan(
        model=model.name, parameters=study, auto_promote=request.auto_promote, dataset=model.dataset, terms=terms
    )


def candidates(gate: Gate) -> tuple[Objective, ...]:
    """What a study is after by itself: the first of these that is measured on the validation part."""
    found = [Objective(metric=one.metric, direction=_direction(one.operator)) for one in gate.conditions]
    return (*found, Objective(metric="loss", direction="minimize"))


def settled(study: Study, gate: Gate, metrics: Iterable[str]) -> tuple[Objective, ...]:
    """The objectives, now that it is known what is measured; raises InvalidInput for one that is not."""
    names = set(metrics)
    if not study.objectives:
        found = next((one for one in candidates(gate) if measured_name(one, names)), None)
        return (found,) if found else ()
    for index, one in enumerate(study.objectives):
        if not measured_name(one, names):
            field = f"objectives.{index}.metric"
            known = ", ".join(sorted(names))
            raise InvalidInput(f"{field}: {one.metric} is not measured; there are {known}", field=field)
    return study.objectives


def measured_name(objective: Objective, names: Iterable[str]) -> str:
    """The metric that is meant, as trainings tell it; nothing where it is not measured."""
    known = set(names)
    return next((name for name in (VALIDATION + objective.metric, objective.metric) if name in known), "")


def values_of(objectives: Sequence[Objective], metrics: Mapping[str, Any]) -> tuple[float, ...]:
    """A value for each objective; none where one of them is not a number."""
    found = [metrics.get(measured_name(one, metrics)) for one in objectives]
    numbers = [value for value in found if isinstance(value, int | float) and math.isfinite(value)]
    return tuple(map(float, numbers)) if len(numbers) == len(objectives) else ()


def is_better(objective: Objective, one: float, other: float) -> bool:
    return one > other if objective.direction == "maximize" else one < other


def front(objectives: Sequence[Objective], trials: Iterable[Trial]) -> list[Trial]:
    """The trials that no other surpasses: equal or better in all objectives and better in one; of one objective the
    best alone. In order of the first objective, and then of their numbers.
    """
    ended = sorted(_ended_well(trials), key=lambda trial: (_key(objectives[:1], trial), trial.number))
    if len(objectives) == 1:
        return ended[:1]
    return [trial for trial in ended if not any(_surpasses(objectives, other, trial) for other in ended)]


def over(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial], seconds: float) -> str:
    """Why the study is over, if it is."""
    if _has_reached(study.budget.target, objectives, trials):
        return "target"
    if study.budget.seconds is not None and seconds >= study.budget.seconds:
        return "seconds"
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    if len(failed) >= max(FAILED_AT_FIRST, study.parallel) and len(failed) == len(trials):
        return "failures"
    return "trials" if len(trials) >= study.trials and not any(trial.goes_on for trial in trials) else ""


def room(study: Study, trials: Sequence[Trial]) -> int:
    """How many trials may begin now."""
    going_on = sum(trial.goes_on for trial in trials)
    return max(0, min(study.parallel - going_on, study.trials - len(trials)))


def progress(study: Study, trials: Sequence[Trial], seconds: float) -> float:
    """How much of the budget is spent, of trials or of seconds, whichever is nearer to its end."""
    done = sum(not trial.goes_on for trial in trials) / study.trials
    return min(1.0, max(done, seconds / study.budget.seconds if study.budget.seconds else 0.0))


def told(study: Study, objectives: Sequence[Objective], trials: Sequence[Trial]) -> str:
    """How far the study is, for people."""
    done = f"{sum(not trial.goes_on for trial in trials)} of {study.trials} trials"
    best = front(objectives, trials) if objectives else []
    if not best:
        return done
    first = ", ".join(f"{one.metric} {value:.6g}" for one, value in zip(objectives, best[0].values, strict=True))
    return f"{done}; best: {first} of trial {best[0].number}"


def trial_plan(of: StudyPlan, model: Model[Any], parameters: Mapping[str, Any]) -> Plan:
    """The training that a trial is; raises InvalidInput where the member does not take the parameters together."""
    study = of.parameters
    made = plan(model, {SEED: study.seed} | study.config | dict(parameters), of.auto_promote, study.training)
    return made.model_copy(update={"dataset": of.dataset, "dataset_digest": of.dataset_digest})


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != SEED}


def _has_reached(target: float | None, objectives: Sequence[Objective], trials: Sequence[Trial]) -> bool:
    best = front(objectives, trials) if objectives else []
    return target is not None and bool(best) and not is_better(objectives[0], target, best[0].values[0])


def _check_several(study: Study) -> None:
    if len(study.objectives) < 2:
        return
    if len({one.metric for one in study.objectives}) < len(study.objectives):
        raise InvalidInput("objectives: the same metric stands there twice", field="objectives")
    if study.pruner is not Pruner.NONE:
        raise InvalidInput("pruner: trials with several objectives are not pruned: leave it at none", field="pruner")
    if study.sampler is Sampler.CMAES:
        raise InvalidInput("sampler: cmaes knows one objective: take tpe, random or grid", field="sampler")
    if study.budget.target is not None:
        raise InvalidInput("budget.target: several objectives have no one target", field="budget.target")


def _directed(gate: Gate, index: int, given: Objective) -> Objective:
    """With the direction that the gate knows where none was given."""
    name = given.metric.removeprefix(VALIDATION)
    known = {one.metric: one.direction for one in candidates(gate)} | dict.fromkeys(LOSSES, "minimize")
    direction = given.direction or known.get(name)
    if direction is None:
        field = f"objectives.{index}.direction"
        raise InvalidInput(f"{field}: say whether to minimize or to maximize {given.metric}", field=field)
    return given.model_copy(update={"direction": direction})


def _direction(operator: str) -> str:
    return "maximize" if operator.startswith(">") else "minimize"


def _ended_well(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state is TrialState.SUCCEEDED and trial.values]


def _key(objectives: Sequence[Objective], trial: Trial) -> list[float]:
    """Less is better."""
    pairs = zip(objectives, trial.values, strict=False)
    return [-value if one.direction == "maximize" else value for one, value in pairs]


def _surpasses(objectives: Sequence[Objective], other: Trial, trial: Trial) -> bool:
    ours, theirs = _key(objectives, trial), _key(objectives, other)
    return theirs != ours and all(their <= our for their, our in zip(theirs, ours, strict=True))
