"""Layers that read prices: open, high, low and close of each day, the latest day last."""

import torch
from torch import Tensor, nn

from library.tables import perceptron

SPANS = (1, 5, 22, 63)
MEMORIES = (0.8, 0.94)
LEAST = 0.01
DAYS_OF_YEAR = 252


class Moves(nn.Module):
    """Bars [batch, days, 4] to what they say of the size and the way of moves [batch, MOVES], whatever the price.

    Sizes are logarithms of variances in squared percent, by three measures: returns, ranges (Parkinson, 1980), and
    ranges within the day (Garman and Klass, 1980) plus the gap before; each over a day, a week, a month and a quarter,
    as in Corsi's HAR (2009), and with weights that fade. Ways are returns by their usual size, and the share of losses.
    """

    def forward(self, bars: Tensor) -> Tensor:
        returns, ranges, within = _measures(bars)
        squares = returns.square()
        sizes = [_log_mean(measure, span) for measure in (within, ranges) for span in SPANS]
        sizes += [_log_mean(squares, span) for span in SPANS[1:]]
        sizes += [_log_fading(measure, memory) for measure in (ranges, squares) for memory in MEMORIES]
        usual = (within[:, -SPANS[1] :].mean(dim=1) + LEAST).sqrt()
        ways = [returns[:, -span:].sum(dim=1) / usual / span**0.5 for span in SPANS[:3]]
        losses = returns.clamp(max=0).square()
        ways += [(losses[:, -span:].mean(dim=1) / usual.square() + 0.05).log() for span in SPANS[:3]]
        return torch.stack([*sizes, *ways], dim=1)


MOVES = 2 * len(SPANS) + len(SPANS[1:]) + 2 * len(MEMORIES) + 2 * len(SPANS[:3])


def _measures(bars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns in percent, and two measures of variance in squared percent, of each day but the first."""
    opened, high, low, close = (100 * (bars / bars[:, -1:, 3:]).log()).unbind(dim=-1)
    before, gap = close[:, :-1], opened[:, 1:] - close[:, :-1]
    spread = torch.maximum(high[:, 1:], before) - torch.minimum(low[:, 1:], before)
    within = 0.5 * (high - low).square() - 0.386 * (close - opened).square()
    return close[:, 1:] - before, spread.square() / 2.773, within[:, 1:].clamp(min=0) + gap.square()


def _log_mean(measure: Tensor, span: int) -> Tensor:
    return (measure[:, -span:].mean(dim=1) + LEAST).log()


def _log_fading(measure: Tensor, memory: float) -> Tensor:
    weights = memory ** torch.arange(measure.shape[1] - 1, -1, -1, dtype=measure.dtype)
    return (measure @ (weights / weights.sum()) + LEAST).log()


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
