"""Layers for tables whose cells may be missing: NaN goes in, no NaN comes out."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 5


class Ramps(nn.Module):
    """Each cell as the share of each of its column's steps that it has climbed, and whether it is missing.

    Rows [batch, columns] to [batch, columns, steps + 1], all of 0 to 1: piecewise linear encoding (Gorishniy et al.,
    On Embeddings for Numerical Features in Tabular Deep Learning, 2022), held at both ends, so that no cell is far out.
    `sharp` adds whether the cell stands on or above each step: [batch, columns, 2 steps + 1].
    """

    def __init__(self, columns: int, steps: int, sharp: bool = False) -> None:
        super().__init__()
        self.sharp = sharp
        self.foot: Tensor
        self.width: Tensor
        self.register_buffer("foot", torch.zeros(columns, steps))
        self.register_buffer("width", torch.ones(columns, steps))

    def measure(self, rows: Tensor, target: Tensor | None = None) -> None:
        """Take each column's steps from these rows: as many rows on each as on any other, where values allow it, or
        those of a decision tree of that column for the target.
        """
        steps = self.foot.shape[1]
        for column, cells in enumerate(rows.double().T):
            there = ~cells.isnan()
            inner = quantiles(cells[there], steps) if target is None else thresholds(cells[there], target[there], steps)
            edges = filled(cells[there], inner, steps)
            self.foot[column] = edges[:-1]
            self.width[column] = edges.diff()

    def forward(self, rows: Tensor) -> Tensor:
        missing = rows.isnan()
        above = rows.where(~missing, torch.zeros_like(rows)).unsqueeze(-1) - self.foot
        there = (~missing).unsqueeze(-1).to(rows.dtype)
        found = [(above / self.width).clamp(0, 1) * there, 1 - there]
        sharp = [(above > 0).to(rows.dtype) * there] if self.sharp else []
        return torch.cat([*found, *sharp], dim=-1)


def quantiles(cells: Tensor, steps: int) -> "NDArray[Any]":
    """Where to cut these cells so that each of the steps holds as many; at each value, where there are few."""
    if len(values := np.unique(cells.numpy())) <= steps:
        return values
    shares = np.linspace(0, 1, steps + 1)[1:-1]
    found: NDArray[Any] = np.quantile(cells.numpy(), shares)
    return found


def thresholds(cells: Tensor, target: Tensor, steps: int) -> "NDArray[Any]":
    """Where a decision tree cuts these cells to tell the target's classes apart."""
    from sklearn.tree import DecisionTreeClassifier

    if len(cells) == 0:
        return np.zeros(0)
    grown = DecisionTreeClassifier(max_leaf_nodes=steps, min_samples_leaf=LEAST, random_state=0)
    tree = grown.fit(cells[:, None].numpy(), target.numpy()).tree_
    found: NDArray[Any] = tree.threshold[tree.feature >= 0]
    return found


def filled(cells: Tensor, inner: "NDArray[Any]", steps: int) -> Tensor:
    """One edge more than there are steps, each above the one before: those that lack lie beyond the greatest cell."""
    ends = [cells.min().item(), cells.max().item()] if len(cells) else [0.0]
    edges = np.unique(np.array([*ends, *inner], "f4"))
    beyond = edges[-1] + np.arange(1, steps + 2 - len(edges)) * max(1.0, abs(float(edges[-1])))
    return torch.from_numpy(np.concatenate([edges, beyond]).astype("f4"))


class Crowd(nn.Module):
    """Several multilayer perceptrons on the same inputs [batch, width]; answers are the mean of their log-chances."""

    def __init__(self, members: int, sizes: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.members = nn.ModuleList(perceptron(sizes, dropout) for _ in range(members))

    def forward(self, inputs: Tensor) -> Tensor:
        answers = torch.stack([member(inputs).log_softmax(dim=1) for member in self.members])
        return answers.mean(dim=0)


def perceptron(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear layers of these sizes, with ReLU and dropout between them."""
    layers: list[Any] = []
    for size, following in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(size, following), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


class Chosen(nn.Module):
    """Some columns of a table: whether there is anything, each; and which of so many numbers it is, for others.

    The second are multiplied by `weight`: the smaller, the more a weight decay holds them back.
    """

    def __init__(self, there: list[int], numbers: dict[int, int], weight: float) -> None:
        super().__init__()
        self.there, self.numbers, self.weight = there, numbers, weight
        self.width = len(there) + sum(numbers.values())

    def forward(self, rows: Tensor) -> Tensor:
        found = [rows[:, column, None] == torch.arange(count) for column, count in self.numbers.items()]
        there = (rows[:, self.there] > 0).to(rows.dtype)
        return torch.cat([there, self.weight * torch.cat(found, dim=1).to(rows.dtype)], dim=1)


class Leaning(nn.Module):
    """Log-odds of two classes [batch, 2]: as often as measured, and a weighted sum of columns that leans from there.

    The weights are zero at first, and what shrinks them (a large weight decay) leads back to the measured frequency.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(columns))
        self.odds: Tensor
        self.register_buffer("odds", torch.zeros(()))

    def measure(self, target: Tensor) -> None:
        self.odds.copy_(target.double().mean().logit())

    def forward(self, rows: Tensor) -> Tensor:
        odds = self.odds + rows @ self.weight
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


class Beside(nn.Module):
    """What several layers make of the same inputs, side by side [batch, sum of their widths]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([layer(inputs) for layer in self.layers], dim=1)


class Additive(nn.Module):
    """Log-odds of the second class as a sum over columns, each a broken line over its cell, or a figure for a gap.

    Rows [batch, columns] to logits [batch, 2]; `contributions` [batch, columns] are exact: with `bias` they add up to
    the log-odds, and the mean of each over the rows measured is 0 (additive models: Hastie and Tibshirani, 1986).
    """

    def __init__(self, columns: int, steps: int) -> None:
        super().__init__()
        self.ramps = Ramps(columns, steps)
        self.weight = nn.Parameter(torch.zeros(columns, steps + 1))
        self.bias = nn.Parameter(torch.zeros(()))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(columns, steps + 1))

    def measure(self, rows: Tensor) -> None:
        self.ramps.measure(rows)
        self.mean.copy_(self.ramps(rows).mean(dim=0))

    def contributions(self, rows: Tensor) -> Tensor:
        """How far each column moves the log-odds from those of the mean row."""
        found: Tensor = ((self.ramps(rows) - self.mean) * self.weight).sum(dim=-1)
        return found

    def forward(self, rows: Tensor) -> Tensor:
        odds = self.contributions(rows).sum(dim=1) + self.bias
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


class Reasoned(nn.Module):
    """The served form of Additive: probabilities [batch, 2], and the contributions that made them."""

    def __init__(self, module: Additive) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        (rows,) = inputs
        return self.module(rows).softmax(dim=1), self.module.contributions(rows)
