"""What finds things like a given one: a learnt way to compare them, an index, and a vote of those that are found."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.index import Index
from library.networks.layers import Standardise

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1000
HIDDEN = 256
DROPOUT = 0.1


class Search(nn.Module):
    """Features [batch, features] to vectors [batch, width] that are near where their classes are the same.

    It begins with the directions in which the things differ most, and learns what to add: without an epoch features are
    compared as they came.
    What is remembered is no part of a checkpoint: a training that goes on has the same training part.
    """

    things: Tensor
    classes: Tensor

    def __init__(self, features: int, width: int, kinds: int, found: int) -> None:
        super().__init__()
        self.kinds, self.found = kinds, found
        self.scale = Standardise(features)
        self.known = nn.Linear(features, width, bias=False).requires_grad_(False)
        self.learnt = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, width, bias=False)
        )
        nn.init.zeros_(cast("nn.Linear", self.learnt[3]).weight)
        self.register_buffer("things", torch.zeros(found, features), persistent=False)
        self.register_buffer("classes", torch.zeros(found, dtype=torch.int64), persistent=False)

    def remember(self, things: Tensor, classes: Tensor) -> None:
        """What is to be found, by its features [things, features], and of which class each is [things]."""
        self.things, self.classes = things, classes
        self.scale.measure(things)
        self.known.weight.copy_(_directions(self.scale(things), len(self.known.weight)))

    def forward(self, features: Tensor) -> Tensor:
        scaled = self.scale(features)
        vectors: Tensor = self.known(scaled) + self.learnt(scaled)
        return vectors


def _directions(rows: Tensor, count: int) -> Tensor:
    """In which they differ most; rounded, and never of one size, so that the same rows give the same bytes."""
    wide = rows.double()
    spread = (wide.T @ wide / len(wide)).round(decimals=9)
    apart = torch.linspace(0, 1e-6, len(spread), dtype=torch.float64)
    _, directions = torch.linalg.eigh(spread + torch.diag(apart))
    found: Tensor = directions.T.flip(0)[:count].float()
    return found


class Voted(nn.Module):
    """The served form of Search: shares of the classes among the found [batch, kinds], and of each that is found its
    number, its class and its score [batch, found]; nearer ones weigh more.
    """

    def __init__(self, search: Search) -> None:
        super().__init__()
        self.search = search
        with torch.no_grad():
            self.index = Index(search.eval()(search.things), search.found)

    def forward(self, *features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        numbers, scores = self.index(self.search(features[0]))
        classes = self.search.classes[numbers]
        return votes(classes, scores, self.search.kinds), numbers, classes, scores


def votes(classes: Tensor, scores: Tensor, kinds: int) -> Tensor:
    """Shares [batch, kinds] of the classes [batch, found], weighed by their scores."""
    weights = scores.clamp(min=1e-6)
    chosen = functional.one_hot(classes, kinds) * weights.unsqueeze(2)
    return chosen.sum(dim=1) / weights.sum(dim=1, keepdim=True)


def votes_of_pixels(
    things: "NDArray[Any]", classes: "NDArray[Any]", asked: "NDArray[Any]", kinds: int, found: int
) -> "NDArray[Any]":
    """What a search finds that compares pictures pixel by pixel."""
    index = Index(_rows(things), found)
    known, shares = torch.from_numpy(classes), []
    for pictures in torch.split(_rows(asked), CHUNK):
        numbers, scores = index(pictures)
        shares.append(votes(known[numbers], scores, kinds))
    return torch.cat(shares).numpy()


def _rows(pictures: "NDArray[Any]") -> Tensor:
    return torch.from_numpy(pictures.reshape(len(pictures), -1).astype("<f4"))
