"""An early look at a classifier on the validation part: what it confuses with what, and its worst answers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from library.base import Model, TaskType

MOST_LABELS = 100
MOST_PAIRS = 20
MOST_WORST = 20


def has_insights(model: Model[Any]) -> bool:
    return model.task_type is TaskType.CLASSIFICATION


def insights_of(model: Model[Any], outputs: Tensor, target: Tensor) -> dict[str, Any]:
    """Bounded, whatever the number of labels: of more than MOST_LABELS only the pairs confused most are told."""
    labels = model.labels or tuple(map(str, range(outputs.shape[1])))
    table = _counts(outputs.argmax(dim=1), target, len(labels))
    return {
        "items": len(target),
        "labels": list(labels) if len(labels) <= MOST_LABELS else [],
        "confusion": table.tolist() if len(labels) <= MOST_LABELS else [],
        "most_confused": _pairs(table, labels),
        "worst": _worst(outputs.double(), target, labels),
    }


def _counts(answered: Tensor, target: Tensor, labels: int) -> Tensor:
    """A row for each label that was expected, a column for each that was answered."""
    return torch.bincount(target * labels + answered, minlength=labels**2).reshape(labels, labels)


def _pairs(table: Tensor, labels: Sequence[str]) -> list[dict[str, Any]]:
    wrong = table.clone().fill_diagonal_(0).flatten()
    counts, places = wrong.sort(descending=True, stable=True)
    return [
        {"expected": labels[place // len(labels)], "answered": labels[place % len(labels)], "count": count}
        for count, place in zip(counts[:MOST_PAIRS].tolist(), places[:MOST_PAIRS].tolist(), strict=True)
        if count
    ]


def _worst(outputs: Tensor, target: Tensor, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Those with the largest cross entropy, by their places in the part."""
    losses = functional.cross_entropy(outputs, target, reduction="none")
    chances, answered = outputs.softmax(dim=1).max(dim=1)
    return [
        {
            "index": index,
            "loss": losses[index].item(),
            "expected": labels[int(target[index])],
            "answered": labels[int(answered[index])],
            "confidence": chances[index].item(),
        }
        for index in losses.argsort(descending=True, stable=True)[:MOST_WORST].tolist()
    ]
