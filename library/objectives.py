"""What a task type gives its models by default: loss, metrics, tensors, optimiser and the served form."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.base import Config, TaskType
from library.layers import Served

if TYPE_CHECKING:
    from library.base import Arrays

LOSSES: dict[TaskType, Callable[[Tensor, Tensor], Tensor]] = {
    TaskType.CLASSIFICATION: functional.cross_entropy,
    TaskType.REGRESSION: functional.mse_loss,
}
FINISHES: dict[TaskType, Callable[[], nn.Module]] = {
    TaskType.CLASSIFICATION: lambda: nn.Softmax(dim=1),
    TaskType.REGRESSION: nn.Identity,
}


def _accuracy(outputs: Tensor, target: Tensor) -> dict[str, float]:
    return {"accuracy": (outputs.argmax(dim=1) == target).double().mean().item()}


def _errors(outputs: Tensor, target: Tensor) -> dict[str, float]:
    error = outputs.double() - target.double()
    return {"rmse": error.square().mean().sqrt().item(), "mae": error.abs().mean().item()}


METRICS: dict[TaskType, Callable[[Tensor, Tensor], dict[str, float]]] = {
    TaskType.CLASSIFICATION: _accuracy,
    TaskType.REGRESSION: _errors,
}


def loss(task_type: TaskType, outputs: Tensor, target: Tensor) -> Tensor:
    return LOSSES[task_type](outputs, target)


def metrics(task_type: TaskType, outputs: Tensor, target: Tensor) -> dict[str, float]:
    return METRICS[task_type](outputs, target)


def served(task_type: TaskType, module: nn.Module) -> nn.Module:
    return Served(module, FINISHES[task_type]())


def tensors(items: "Arrays", names: list[str]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(items[name]) for name in names)


def optimiser(module: nn.Module, config: Config) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
