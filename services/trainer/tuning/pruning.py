"""Which trials fall behind others at the same epoch; a decision follows from the curves alone. Pure.

Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020 (ASHA); Li et al., Hyperband, 2018; Golovin et
al., Google Vizier, 2017 (the median of running averages, here of the best values).
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from itertools import takewhile
from statistics import median

from services.trainer.tuning.domain import Trial, is_better
from shared.tuning import Objective, Pruner

KEPT_OF = 3
ENDED_BEFORE = 4
FIRST_EPOCH = 2


def pruned_at(pruner: Pruner, objective: Objective, trial: Trial, trials: Iterable[Trial], epochs: int) -> int | None:
    """The epoch at which the trial has fallen behind, of `epochs` of a whole training; None where it has not."""
    if pruner is Pruner.NONE or not trial.curve or max(trial.curve) >= epochs:
        return None
    others = [other for other in trials if other.number != trial.number]
    if pruner is Pruner.MEDIAN:
        return _behind_the_median(objective, trial, others)
    bracket = bracket_of(trial.number, epochs) if pruner is Pruner.HYPERBAND else 0
    if pruner is Pruner.HYPERBAND:
        others = [other for other in others if bracket_of(other.number, epochs) == bracket]
    return _behind_at_a_rung(objective, trial, others, rungs(epochs, bracket))


def rungs(epochs: int, bracket: int = 0) -> list[int]:
    """The epochs at which one of three goes on; a later bracket looks first at a later one."""
    powers = (KEPT_OF**power for power in range(bracket, 64))
    return list(takewhile(lambda epoch: epoch < epochs, powers))


def bracket_of(number: int, epochs: int) -> int:
    """Of Hyperband: the earlier a bracket looks first, the more trials it has, so that all cost about the same."""
    last = int(math.log(max(1, epochs), KEPT_OF) + 1e-9)
    shares = [math.ceil((last + 1) * KEPT_OF ** (last - bracket) / (last - bracket + 1)) for bracket in range(last + 1)]
    place = zlib.crc32(number.to_bytes(8, "big")) % sum(shares)
    return next(bracket for bracket in range(last + 1) if place < sum(shares[: bracket + 1]))


def _behind_at_a_rung(objective: Objective, trial: Trial, others: Sequence[Trial], at: Sequence[int]) -> int | None:
    """Judged at the last rung that it has reached, among those that have reached it too."""
    epoch = next((epoch for epoch in reversed(at) if _at(trial, epoch) is not None), None)
    if epoch is None:
        return None
    own = _at(trial, epoch)
    rivals = [value for other in others if (value := _at(other, epoch)) is not None]
    ahead = sum(own is not None and is_better(objective, rival, own) for rival in rivals)
    return epoch if ahead >= max(1, (len(rivals) + 1) // KEPT_OF) else None


def _at(trial: Trial, epoch: int) -> float | None:
    """What it had reached at an epoch, as it was measured last by then; nothing before that epoch is over."""
    measured = [one for one in trial.curve if one <= epoch]
    return trial.curve[max(measured)] if measured and max(trial.curve) >= epoch else None


def _behind_the_median(objective: Objective, trial: Trial, others: Sequence[Trial]) -> int | None:
    """Its best value so far is worse than the median of those that others had by then."""
    epoch = max(trial.curve)
    theirs = [_best(objective, other, epoch) for other in others if _at(other, epoch) is not None]
    if epoch < FIRST_EPOCH or len(theirs) < ENDED_BEFORE:
        return None
    return epoch if is_better(objective, median(theirs), _best(objective, trial, epoch)) else None


def _best(objective: Objective, trial: Trial, until: int) -> float:
    values = [value for epoch, value in trial.curve.items() if epoch <= until]
    return max(values) if objective.direction == "maximize" else min(values)
