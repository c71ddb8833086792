"""Layers that read what a car sees of the traffic around it: tables of itself and of others, one frame or more."""

import torch
from torch import Tensor, nn

SCALES = (1.0, 0.02, 0.25, 0.1, 0.25)
OWN = (1.0, 0.0, 1.0, 1.0, 1.0)
LATER = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0)
LENGTH, WIDTH = 5.0, 2.0
BLURRED = (2.0, 0.5)


class Traffic(nn.Module):
    """Tables [batch, frames, cars, 5], the first row the car itself, to logits [batch, classes].

    Another car is told to the perceptron that all others share by its rows, by how near it will be if nobody changes
    velocity, and by the car's own rows; what a car that is not there would say is left out, and order does not matter.
    """

    def __init__(self, frames: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.scales: Tensor
        self.own: Tensor
        self.register_buffer("scales", torch.tensor(SCALES))
        self.register_buffer("own", torch.tensor(OWN))
        rows = frames * len(SCALES)
        self.each = nn.Sequential(
            nn.Linear(2 * rows + 2 * len(LATER), 2 * width), nn.ReLU(), nn.Linear(2 * width, width), nn.ReLU()
        )
        self.all = nn.Sequential(
            nn.Linear(2 * width + rows, 2 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * width, classes)
        )

    def forward(self, tables: Tensor) -> Tensor:
        scaled = tables * self.scales
        own = (scaled[:, :, 0] * self.own).flatten(start_dim=1)
        others, there = scaled[:, :, 1:].movedim(1, 2).flatten(start_dim=2), tables[:, -1, 1:, :1] > 0
        beside = own.unsqueeze(1).expand(-1, others.shape[1], -1)
        found = self.each(torch.cat([others, beside, nearness(tables[:, -1, 1:])], dim=-1)) * there
        answers: Tensor = self.all(torch.cat([found.amax(dim=1), found.mean(dim=1), own], dim=1))
        return answers


def nearness(others: Tensor) -> Tensor:
    """How much of the way to touching is gone, along and across, at some moments to come: 1 touches, 0 is far."""
    later = torch.tensor(LATER)
    ahead = (others[..., 1, None] + others[..., 3, None] * later).abs()
    aside = (others[..., 2, None] + others[..., 4, None] * later).abs()
    along, across = torch.sigmoid((LENGTH - ahead) / BLURRED[0]), torch.sigmoid((WIDTH - aside) / BLURRED[1])
    return torch.cat([along * across, along], dim=-1)


class Both(nn.Module):
    """A module asked also about the mirrored road, so that left and right are alike: the mean of both answers.

    `swapped` says in which class of the mirrored road each class is found.
    """

    def __init__(self, module: nn.Module, middle: float, swapped: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.swapped = module, list(swapped)
        self.signs: Tensor
        self.shift: Tensor
        self.register_buffer("signs", torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0]))
        shift = torch.zeros(1, 5)
        shift[0, 2] = 2 * middle
        self.register_buffer("shift", shift)

    def forward(self, tables: Tensor) -> Tensor:
        mirrored = tables * self.signs
        mirrored = torch.cat([mirrored[:, :, :1] + self.shift, mirrored[:, :, 1:]], dim=2)
        found: Tensor = (self.module(tables) + self.module(mirrored)[:, self.swapped]) / 2
        return found


class Prudent(nn.Module):
    """Takes from the logits of some classes, but not while it learns: these need better odds where being wrong about
    them costs more (Elkan, The Foundations of Cost-Sensitive Learning, 2001).
    """

    def __init__(self, less: tuple[float, ...]) -> None:
        super().__init__()
        self.less: Tensor
        self.register_buffer("less", torch.tensor(less))

    def forward(self, logits: Tensor) -> Tensor:
        return logits if self.training else logits - self.less
