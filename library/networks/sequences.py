"""Layers of models that read what somebody did, one thing after the other."""

import torch
from torch import Tensor, nn

SEEN = -1e9


class NextOf(nn.Module):
    """Numbers of things [batch, n], newest last and 0 for none, to a score of each thing [batch, things].

    Each view is a mean of the vectors with weights of its own by place; recency counts from the start.
    """

    def __init__(self, things: int, places: int, width: int, views: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Embedding(things + 1, width, padding_idx=0)
        ages = torch.arange(places - 1, -1, -1, dtype=torch.float32)
        rates = torch.logspace(0.2, 2.2, views)
        self.weights = nn.Parameter(-ages[:, None] / rates)
        self.mix = nn.Sequential(
            nn.Linear(views * width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.answers = nn.Linear(width, things)
        nn.init.normal_(self.vectors.weight, std=0.1)

    def forward(self, things: Tensor) -> Tensor:
        there = (things > 0).unsqueeze(-1)
        shares = torch.softmax(self.weights.where(there, torch.full_like(self.weights, SEEN)), dim=1)
        views = torch.einsum("bnw,bnv->bvw", self.vectors(things), shares)
        mixed = views.mean(dim=1) + self.mix(self.dropout(views).flatten(1))
        scores: Tensor = self.answers(self.dropout(mixed))
        return scores


class Unseen(nn.Module):
    """Scores in which what is among the inputs comes last."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        (things,) = inputs
        scores = self.module(things)
        wide = torch.cat([torch.zeros_like(scores[:, :1]), scores], dim=1)
        return wide.scatter(1, things.long(), SEEN)[:, 1:]


class AgainAndNext(nn.Module):
    """Numbers of things [batch, n], newest last and 0 for none, to a score of each thing [batch, things].

    To what follows from all of them comes how often and how lately each thing was among them.
    """

    def __init__(self, things: int, places: int, width: int, dropout: float) -> None:
        super().__init__()
        self.next = NextOf(things, places, width, views=4, dropout=dropout)
        ages = torch.arange(places - 1, -1, -1, dtype=torch.float32)
        self.recency = nn.Parameter(torch.stack([torch.zeros(places), -ages / 50, -ages / 10]))
        self.again = nn.Parameter(torch.full((3, things), 0.5))

    def forward(self, things: Tensor) -> Tensor:
        scores: Tensor = self.next(things)
        numbers = things.long()
        for recency, again in zip(self.recency, self.again, strict=True):
            weights = torch.exp(recency).expand(numbers.shape)
            empty = torch.zeros_like(scores[:, :1]).expand(-1, scores.shape[1] + 1)
            scores = scores + torch.log1p(empty.scatter_add(1, numbers, weights)[:, 1:]) * again
        return scores
