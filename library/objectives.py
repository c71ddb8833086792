"""What a task type gives its models by default: loss, metrics and the step that finishes the served form."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from library.base import TaskType

TOP = 10


def _squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(outputs.reshape(target.shape), target)


def _accuracy(outputs: Tensor, target: Tensor) -> dict[str, float]:
    return {"accuracy": (outputs.argmax(dim=1) == target).double().mean().item()}


def _errors(outputs: Tensor, target: Tensor) -> dict[str, float]:
    error = outputs.double().reshape(target.shape) - target.double()
    return {"rmse": error.square().mean().sqrt().item(), "mae": error.abs().mean().item()}


def _hits(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """NDCG and recall among the first ten where each item has one right answer."""
    own = outputs.gather(1, target[:, None])
    place = (outputs > own).sum(dim=1).double()
    found = place < TOP
    gain = found / (place + 2).log2()
    return {"ndcg_at_10": gain.mean().item(), "recall_at_10": found.double().mean().item()}


LOSSES: dict[TaskType, Callable[[Tensor, Tensor], Tensor]] = {
    TaskType.CLASSIFICATION: functional.cross_entropy,
    TaskType.REGRESSION: _squared_error,
    TaskType.RANKING: functional.cross_entropy,
}
METRICS: dict[TaskType, Callable[[Tensor, Tensor], dict[str, float]]] = {
    TaskType.CLASSIFICATION: _accuracy,
    TaskType.REGRESSION: _errors,
    TaskType.RANKING: _hits,
}
FINISHES: dict[TaskType, Callable[[], nn.Module]] = {
    TaskType.CLASSIFICATION: lambda: nn.Softmax(dim=1),
    TaskType.REGRESSION: nn.Identity,
    TaskType.RANKING: nn.Identity,
}
