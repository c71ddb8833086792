"""Watches that the figures of a training stay numbers, and says when they last were."""

import math
from collections.abc import Mapping

from shared.errors import AimassError

ADVICE = "try a lower learning_rate, training.clip_norm, or training.precision float32"


class Diverged(AimassError):
    """The loss is not a number any more: try a lower learning rate."""

    code = "diverged"
    status = 422


class Guard:
    """Knows the last loss that was a number."""

    def __init__(self) -> None:
        self._last: float | None = None

    def check(self, loss: float, epoch: int, step: int) -> float:
        """The loss of a step, both counted from 1; raises Diverged."""
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at step {step} of epoch {epoch}")
        self._last = loss
        return loss

    def check_gradient(self, norm: float, epoch: int, step: int) -> float:
        if not math.isfinite(norm):
            raise self._diverged(f"the norm of the gradient is {norm} at step {step} of epoch {epoch}")
        return norm

    def check_all(self, metrics: Mapping[str, float], epoch: int) -> None:
        """What is measured after an epoch."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise self._diverged(f"{name} is {value} after epoch {epoch}")

    def _diverged(self, found: str) -> Diverged:
        last = "no loss was a number before" if self._last is None else f"the last loss before was {self._last:.6g}"
        return Diverged(f"{found}; {last}: {ADVICE}")
