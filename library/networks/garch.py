"""GARCH(1,1): tomorrow's variance is a constant, a share of today's square and a share of today's variance.

Bollerslev, Generalized Autoregressive Conditional Heteroskedasticity, 1986; normal, without a mean.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

if TYPE_CHECKING:
    from numpy.typing import NDArray

START = (0.07, 0.9)
LARGEST = 0.9999


@dataclass(frozen=True)
class Garch:
    """The three shares, and the variance that a run begins with."""

    constant: float
    square: float
    memory: float
    first: float

    def forecast(self, returns: "NDArray[Any]") -> "NDArray[Any]":
        """The variance of the day after these returns [items, days], the latest last."""
        variance = np.full(len(returns), self.first)
        for day in returns.T:
            variance = self.constant + self.square * day**2 + self.memory * variance
        return variance


def fit(returns: "NDArray[Any]", squares: "NDArray[Any]") -> Garch:
    """The likeliest for these squares [items] of the returns that came after `returns` [items, days].

    As an item has its own past, items may be in any order; what a run began with fades by `memory` a day.
    """
    usual = float(squares.mean())
    start = [np.log(usual * (1 - sum(START))), logit(sum(START)), logit(START[0] / sum(START))]
    found = minimize(lambda at: _unlikely(_at(at, usual), returns, squares), start, method="Nelder-Mead")
    return _at(found.x, usual)


def _at(place: "NDArray[Any]", usual: float) -> Garch:
    """Any three numbers are a GARCH whose shares add up to less than 1."""
    total, part = LARGEST * expit(place[1]), expit(place[2])
    return Garch(float(np.exp(place[0])), float(total * part), float(total * (1 - part)), usual)


def _unlikely(garch: Garch, returns: "NDArray[Any]", squares: "NDArray[Any]") -> float:
    variance = garch.forecast(returns)
    return float(np.mean(np.log(variance) + squares / variance))
