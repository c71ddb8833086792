"""Layers that read prices: open, high, low and close of each day, the latest day last."""

import torch
from torch import Tensor, nn

from library.networks.tables import perceptron

SPANS = (1, 5, 22, 63)
MEMORIES = (0.8, 0.94)
WAYS = 3
LEAST = 0.01
LEAST_SHARE = 0.05
DAYS_OF_YEAR = 252


class Moves(nn.Module):
    """Bars [batch, days, 4] to what they say of the size and the way of moves [batch, MOVES], whatever the price.

    Sizes are logarithms of variances in squared percent, by three measures: returns, ranges (Parkinson, 1980), and
    ranges within the day (Garman and Klass, 1980) plus the gap before; each over a day, a week, a month and a quarter,
    as in Corsi's HAR (2009), and with weights that fade. Ways are returns by their usual size, and the share of losses.
    """

    def __init__(self, days: int) -> None:
        super().__init__()
        self.means: Tensor
        even = [_weights(days - 1, span, 1.0) for span in SPANS]
        self.register_buffer("means", torch.stack([*even, *(_weights(days - 1, days, fade) for fade in MEMORIES)], 1))

    def forward(self, bars: Tensor) -> Tensor:
        returns, ranges, within = _measures(bars)
        sizes = torch.stack([within, ranges, returns.square()], dim=1) @ self.means
        usual = sizes[:, 0, 1:2] + LEAST
        short = self.means[:, :WAYS]
        ways = returns @ (short * torch.tensor(SPANS[:WAYS]).sqrt()) / usual.sqrt()
        losses = (returns.clamp(max=0).square() @ short / usual + LEAST_SHARE).log()
        return torch.cat([(sizes + LEAST).log().flatten(start_dim=1), ways, losses], dim=1)


MOVES = 3 * (len(SPANS) + len(MEMORIES)) + 2 * WAYS


def _weights(days: int, span: int, fade: float) -> Tensor:
    """Weights of the last `span` of so many days that add up to 1; each day before has `fade` times as much."""
    back = torch.arange(days - 1, -1, -1)
    weights: Tensor = fade**back * (back < span)
    return weights / weights.sum()


def _measures(bars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns in percent, and two measures of variance in squared percent, of each day but the first."""
    opened, high, low, close = (100 * (bars / bars[:, -1:, 3:]).log()).unbind(dim=-1)
    before, gap = close[:, :-1], opened[:, 1:] - close[:, :-1]
    spread = torch.maximum(high[:, 1:], before) - torch.minimum(low[:, 1:], before)
    within = 0.5 * (high - low).square() - 0.386 * (close - opened).square()
    return close[:, 1:] - before, spread.square() / 2.773, within[:, 1:].clamp(min=0) + gap.square()


class Corrected(nn.Module):
    """A linear layer, zero at first, and the mean of a few perceptrons that correct it."""

    def __init__(self, members: int, sizes: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(sizes[0], sizes[-1])
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.members = nn.ModuleList(perceptron(sizes, dropout) for _ in range(members))

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.linear(rows) + torch.stack([member(rows) for member in self.members]).mean(dim=0)
        return found


class Forecast(nn.Module):
    """From the logarithm of a day's variance to the variance, and the volatility of a year in percent."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        variance = self.module(*inputs).exp()
        return variance, (DAYS_OF_YEAR * variance).sqrt()
