"""Which epoch was the best so far, and whether it is time to end: by a metric and the end of it that is better."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from library.base import Gate
from shared.training import EarlyStopping, Mode, TrainingOptions, invalid

VALIDATION = "validation_"
LOSSES = ("validation_loss", "train_loss")
Measure = tuple[str, Mode]


def measures(gate: Gate) -> list[Measure]:
    """What tells the best: the first of these that is measured on the validation part."""
    found: list[Measure] = [
        (VALIDATION + condition.metric, "max" if condition.operator.startswith(">") else "min")
        for condition in gate.conditions
    ]
    return [*found, (LOSSES[0], "min")]


def stopping_measures(gate: Gate, stopping: EarlyStopping) -> list[Measure]:
    """Raises InvalidInput where nothing says which end of a metric is better."""
    if not stopping.metric:
        found = measures(gate)
        return [(name, stopping.mode or mode) for name, mode in found]
    known = dict(measures(gate)) | dict.fromkeys(LOSSES, "min")
    mode = stopping.mode or known.get(stopping.metric)
    if mode is None:
        raise invalid("early_stopping.mode", f"say whether min or max of {stopping.metric} is better")
    return [(stopping.metric, mode)]


@dataclass
class Best:
    """The best of a metric so far, of the epochs that were evaluated, and how many came since in vain."""

    measures: Sequence[Measure]
    min_delta: float = 0.0
    value: float | None = None
    epoch: int = 0
    since: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def see(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether this epoch is the best so far."""
        measure = next((measure for measure in self.measures if measure[0] in metrics), None)
        if measure is None:
            return False
        name, mode = measure
        gain = self._gain(metrics[name], mode)
        self.since += 1
        if gain is not None and gain <= self.min_delta:
            return False
        self.value, self.epoch, self.since, self.metrics = metrics[name], epoch, 0, dict(metrics)
        return True

    def _gain(self, value: float, mode: Mode) -> float | None:
        """By how much it is better; None for the first."""
        if self.value is None:
            return None
        return value - self.value if mode == "max" else self.value - value

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in ("measures", "min_delta")}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Watch:
    """Looks at each evaluation: whose weights are the best, and whether others shall still be tried."""

    def __init__(self, gate: Gate, options: TrainingOptions) -> None:
        self.best = Best(measures(gate))
        self._stopping = stopping = options.early_stopping
        self._patience = stopping.patience if stopping else 0
        self._last = Best(stopping_measures(gate, stopping), stopping.min_delta) if stopping else None

    @property
    def is_over(self) -> bool:
        return self._last is not None and self._last.since >= self._patience

    @property
    def last_gain(self) -> int:
        """The epoch after which nothing got better."""
        return self._last.epoch if self._last else 0

    def see(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether this epoch is the best; raises InvalidInput for a metric that is none of these."""
        if self._last is not None:
            self._require(metrics)
            self._last.see(epoch, metrics)
        return self.best.see(epoch, metrics)

    def _require(self, metrics: Mapping[str, float]) -> None:
        named = self._stopping.metric if self._stopping else ""
        if named and named not in metrics:
            raise invalid("early_stopping.metric", f"{named} is not measured; there are {', '.join(sorted(metrics))}")

    def state(self) -> str:
        return json.dumps([one.state() for one in (self.best, self._last) if one])

    def restore(self, state: str) -> None:
        for one, told in zip((self.best, self._last), json.loads(state), strict=False):
            if one:
                one.restore(told)
