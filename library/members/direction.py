"""direction: whether a market closes higher the next day. It hardly tells: a demonstration of honest figures."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.markets import PRICES, WINDOW, MarketDirection, returns
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors

COST = 0.0005
DAYS_OF_YEAR = 252


class DirectionConfig(Config):
    """What a training of direction can be told."""

    epochs: int = Field(default=20, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=256, ge=16, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=0.05, ge=1e-4, le=0.2, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1.5, ge=0, le=5, description="how strongly it leads back to the usual share")


class Direction(Model[DirectionConfig]):
    """The usual share of days that rise, and a sum of the window's moves that leans from it, strongly shrunk."""

    name = "direction"
    task_type = TaskType.CLASSIFICATION
    dataset = MarketDirection.name
    code_version = "1.0.0"
    labels = MarketDirection.labels
    signature = Signature(
        inputs=(TensorSpec(name="bars", datatype="FP32", shape=(-1, WINDOW, len(PRICES))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(conditions=(Condition(metric="log_loss", operator="<=", threshold=0.6931),))
    baseline = Baseline(
        method="the share of rising days, or at most 0.3% worse", metric="log_loss", operator="<", factor=1.003
    )
    card = Card(
        title="Whether a market rises the next day",
        intended_use="Demonstration only: to see how little prices say of the next day's direction. No trade may rest "
        "on it.",
        data="S&P 500 and Nasdaq Composite, daily prices, 4,967 days of 1999 to 2018 in order of time: 60% to train, "
        "15% to validate, 25% to test.",
        licence="Code and weights: as the platform. Prices: the exchanges'; the package that brings them says NCSA.",
        limits="Near chance, as expected. Measured on the test part: accuracy 0.544 (95% interval 0.520 to 0.567), as "
        "always saying up; log-loss 0.6893, of the share of rising days alone 0.6897, interval of the difference "
        "-0.0024 to 0.0014; ROC-AUC 0.506. In the market on the days likelier than the median so far, at 0.05% a "
        "change: -0.4% a year where holding earned 9.1%; interval of the difference -18.1 to -0.8 points. The gate "
        "refuses what is worse than a coin, and no more.",
    )
    config = DirectionConfig

    def example(self) -> "Arrays":
        from library.members.volatility import Volatility

        return Volatility().example()

    def build(self, config: DirectionConfig) -> "nn.Module":
        from torch import nn

        from library.networks.bars import MOVES, Moves
        from library.networks.layers import Standardise
        from library.networks.tables import Leaning

        return nn.Sequential(Moves(WINDOW), Standardise(MOVES), Leaning(MOVES))

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.bars import Moves
        from library.networks.layers import Standardise, only
        from library.networks.tables import Leaning

        only(Standardise, module).measure(only(Moves, module)(inputs[0]))
        only(Leaning, module).measure(target)

    def optimiser(self, module: "nn.Module", config: DirectionConfig) -> "torch.optim.Optimizer":
        """Plain descent, of which weight decay makes ridge regression."""
        import torch

        return torch.optim.SGD(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        share = train["direction"].mean()
        return np.tile([1 - share, share], (len(test["bars"]), 1))

    def figures(self, outputs: "NDArray[Any]", test: "Arrays") -> dict[str, float]:
        """The interval of accuracy, and a year's return in percent, costs paid, of being in the market on the likelier
        days, beside staying in it.
        """
        from library.evaluation.intervals import interval

        low, high = interval(outputs.argmax(axis=1) == test["direction"])
        found = {"accuracy_low": low, "accuracy_high": high}
        if (days := traded(outputs[:, 1], test)) is not None:
            held, earned = (DAYS_OF_YEAR * 100 * way for way in days)
            low, high = interval(earned - held)
            found |= {"strategy_percent": float(earned.mean()), "holding_percent": float(held.mean())}
            found |= {"strategy_less_holding_low": low, "strategy_less_holding_high": high}
        return found


def traded(chances: "NDArray[Any]", items: "Arrays") -> "tuple[NDArray[Any], NDArray[Any]] | None":
    """Returns of the days that items show of each other, of who stays in the market, and of who is in it on days whose
    chance is at least the median of the chances until then, and pays COST at each change; in the order of the items.
    None where no item shows the day after another.
    """
    import numpy as np

    ways = np.full((2, len(chances)), np.nan)
    for kind in np.unique(items["market"]):
        own = np.flatnonzero(items["market"] == kind)
        ways[:, own[:-1]] = _market(_likelier(chances[own]), items["bars"][own])
    held, earned = ways[:, ~np.isnan(ways[0])]
    return (held, earned) if len(held) else None


def _likelier(chances: "NDArray[Any]") -> "NDArray[Any]":
    """In comparison with the past alone, as one would have to decide."""
    import numpy as np

    return np.array([chance >= np.median(chances[: day + 1]) for day, chance in enumerate(chances)])


def _market(inside: "NDArray[Any]", bars: "NDArray[Any]") -> "NDArray[Any]":
    """Both ways on each day but the last; not a number where the next item is not of the next day."""
    import numpy as np

    follows = (bars[1:, :-1] == bars[:-1, 1:]).all(axis=(1, 2))
    held = np.where(follows, np.expm1(returns(bars)[1:, -1] / 100), np.nan)
    changes = np.abs(np.diff(inside.astype(int), prepend=0))[:-1]
    return np.stack([held, inside[:-1] * held - COST * changes])
