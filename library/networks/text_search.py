"""Search by a text's vector: scores of all things where it is judged, the best of them where it is served."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.bert import SentenceBert
from library.networks.index import Index

SHARPNESS = 20.0


class TextSearch(nn.Module):
    """Word pieces [batch, n] to the likeness of each thing [batch, things]."""

    def __init__(self, body: SentenceBert, vectors: Tensor, count: int) -> None:
        super().__init__()
        self.body = body
        self.index = Index(vectors, count)

    def forward(self, pieces: Tensor) -> Tensor:
        return functional.normalize(self.body(pieces), dim=1) @ self.index.vectors.T


class Found(nn.Module):
    """Numbers and scores of the best things, and the numbers again, which a back turns into names."""

    def __init__(self, search: TextSearch) -> None:
        super().__init__()
        self.search = search

    def forward(self, *pieces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        numbers, scores = self.search.index(self.search.body(*pieces))
        return numbers, scores, numbers.clone()


def loss(likeness: Tensor, target: Tensor) -> Tensor:
    """Mean over what is right, -1 where there is no more, each question counting as one."""
    there = target >= 0
    logs = (SHARPNESS * likeness).log_softmax(dim=1).gather(1, target.clamp(min=0))
    return -((logs * there).sum(dim=1) / there.sum(dim=1)).mean()


def recall(scores: Tensor, target: Tensor, count: int) -> float:
    """The share of what is right among the best."""
    best = torch.topk(scores, count, dim=1).indices
    found = (best[:, :, None] == target[:, None, :]).any(dim=1)
    return float((found.sum(dim=1) / (target >= 0).sum(dim=1)).mean())
