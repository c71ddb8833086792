"""What a task type gives its models by default: loss, metrics and the step that finishes the served form."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.base import TaskType
from library.evaluation import entities, words
from library.evaluation.intervals import precision_at_10

TOP = 10
CHUNK = 512
TEMPERATURE = 0.1


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


def _contrast(outputs: Tensor, target: Tensor) -> Tensor:
    """How much nearer vectors are to others of their class, in chunks; one alone of its class does not count.

    Khosla et al., Supervised Contrastive Learning, 2020.
    """
    chunks = zip(torch.split(outputs, CHUNK), torch.split(target, CHUNK), strict=True)
    return torch.cat([_contrasts(*chunk) for chunk in chunks]).mean()


def _contrasts(outputs: Tensor, target: Tensor) -> Tensor:
    vectors = functional.normalize(outputs, dim=1)
    oneself = torch.eye(len(target), dtype=torch.bool)
    likeness = (vectors @ vectors.T / TEMPERATURE).masked_fill(oneself, -1e9)
    same = (target[:, None] == target) & ~oneself
    chances = likeness.log_softmax(dim=1) * same
    return -chances.sum(dim=1) / same.sum(dim=1).clamp(min=1)


def _neighbours(outputs: Tensor, target: Tensor) -> dict[str, float]:
    return {"precision_at_10": float(precision_at_10(target.numpy(), outputs.numpy()).mean())}


class _Directions(nn.Module):
    """Vectors of length 1."""

    def forward(self, outputs: Tensor) -> Tensor:
        return functional.normalize(outputs, dim=1)


def as_bytes(texts: Sequence[bytes]) -> Tensor:
    """Texts as a tensor: bytes [batch, n] of the longest, zeros after the others."""
    width = max(1, *map(len, texts))
    return torch.tensor([[*text, *bytes(width - len(text))] for text in texts], dtype=torch.uint8)


def as_texts(found: Tensor) -> list[str]:
    """The way back."""
    return [bytes(row).rstrip(b"\0").decode("utf-8", "replace") for row in found.tolist()]


def _heard(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """The share of the words that were not heard as they were said."""
    return {"word_error_rate": words.figures(as_texts(target), as_texts(outputs))["word_error_rate"]}


def _spoken(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """The share of the words of samples that a recogniser did not hear as they are written."""
    from library.evaluation.hearing import heard

    return {"word_error_rate": words.figures(as_texts(target), heard(outputs.numpy()))["word_error_rate"]}


def _tags_missed(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean over all words; after the last word of a row the module is sure that there is no name."""
    width = min(outputs.shape[1], target.shape[1])
    return functional.cross_entropy(outputs[:, :width].flatten(0, 1), target[:, :width].flatten())


def _agreement(outputs: Tensor, target: Tensor) -> dict[str, float]:
    """F1 over names."""
    table = entities.counts(target.numpy(), outputs.argmax(dim=2).numpy(), outputs.shape[2] // 2)
    return {"entity_f1": float(entities.f1(*table.sum(axis=(0, 1))))}


class _Likeliest(nn.Module):
    """Scores of each word's labels [batch, n, labels] to the number of the best [batch, n]."""

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(dim=2)


LOSSES: dict[TaskType, Callable[[Tensor, Tensor], Tensor]] = {
    TaskType.CLASSIFICATION: functional.cross_entropy,
    TaskType.REGRESSION: _squared_error,
    TaskType.RANKING: functional.cross_entropy,
    TaskType.EMBEDDING: _contrast,
    TaskType.TAGGING: _tags_missed,
}
METRICS: dict[TaskType, Callable[[Tensor, Tensor], dict[str, float]]] = {
    TaskType.CLASSIFICATION: _accuracy,
    TaskType.REGRESSION: _errors,
    TaskType.RANKING: _hits,
    TaskType.EMBEDDING: _neighbours,
    TaskType.TRANSCRIPTION: _heard,
    TaskType.SPEECH: _spoken,
    TaskType.TAGGING: _agreement,
}
FINISHES: dict[TaskType, Callable[[], nn.Module]] = {
    TaskType.CLASSIFICATION: lambda: nn.Softmax(dim=1),
    TaskType.REGRESSION: nn.Identity,
    TaskType.RANKING: nn.Identity,
    TaskType.EMBEDDING: _Directions,
    TaskType.TRANSCRIPTION: nn.Identity,
    TaskType.SPEECH: nn.Identity,
    TaskType.TAGGING: _Likeliest,
}
