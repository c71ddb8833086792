"""volatility: the variance of the next day's return of a market, from the prices of the last 64 days."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.markets import MARKETS, PRICES, WINDOW, MarketVariance, returns
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors


class VolatilityConfig(Config):
    """What a training of volatility can be told."""

    epochs: int = Field(default=15, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=128, ge=16, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=0.1, ge=0, le=1)
    hidden: int = Field(default=16, ge=4, le=256, json_schema_extra=LOG_SCALE)
    members: int = Field(default=3, ge=1, le=16, description="perceptrons whose answers are averaged")
    dropout: float = Field(default=0.1, ge=0, le=0.8)


class Volatility(Model[VolatilityConfig]):
    """Measures of variance over a day, a week, a month and a quarter, weighed in logarithms and a little corrected."""

    name = "volatility"
    task_type = TaskType.REGRESSION
    dataset = MarketVariance.name
    code_version = "1.0.0"
    signature = Signature(
        inputs=(TensorSpec(name="bars", datatype="FP32", shape=(-1, WINDOW, len(PRICES))),),
        outputs=(
            TensorSpec(name="variance", datatype="FP32", shape=(-1, 1)),
            TensorSpec(name="volatility", datatype="FP32", shape=(-1, 1)),
        ),
    )
    gate = Gate(conditions=(Condition(metric="qlike", operator="<=", threshold=0.61),))
    baseline = Baseline(
        method="GARCH(1,1) for each market, likeliest on the training part", metric="qlike", operator="<"
    )
    card = Card(
        title="How far a market moves the next day",
        intended_use="To see risk figures go through the platform, and to compare ways of foretelling them. "
        "Not advice: no trade should rest on it alone.",
        data="S&P 500 and Nasdaq Composite, daily prices, 4,967 days of 1999 to 2018 in order of time: 60% to train, "
        "15% to validate, 25% to test.",
        licence="Code and weights: as the platform. Prices: the exchanges'; the package that brings them says NCSA.",
        limits="Measured on the test part: QLIKE 0.554, GARCH(1,1) 0.617; the 95% interval of the difference is -0.121 "
        "to 0.005, so that zero is not ruled out. Two markets of one country that move together; a day's square is a "
        "rough sign of its variance, of which even a good forecast explains little (R² 0.11). Other markets: measure.",
    )
    config = VolatilityConfig

    def example(self) -> "Arrays":
        import numpy as np

        close = 2500 * np.exp(np.cumsum(np.resize([0.004, -0.006, 0.009, -0.003, 0.002], WINDOW)))
        prices = np.stack([close * 0.998, close * 1.005, close * 0.994, close], axis=-1)
        return {"bars": prices[None].astype("<f4")}

    def build(self, config: VolatilityConfig) -> "nn.Module":
        from torch import nn

        from library.networks.bars import MOVES, Corrected, Moves
        from library.networks.layers import Standardise

        sizes = (MOVES, config.hidden, 1)
        return nn.Sequential(Moves(WINDOW), Standardise(MOVES), Corrected(config.members, sizes, config.dropout))

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        """Training begins at the variance of the training part."""
        from library.networks.bars import Corrected, Moves
        from library.networks.layers import Standardise, only

        only(Standardise, module).measure(only(Moves, module)(inputs[0]))
        only(Corrected, module).linear.bias.data.fill_(target.mean().log().item())

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.bars import Forecast

        return Forecast(module)

    def loss(self, outputs: "Tensor", target: "Tensor") -> "Tensor":
        """QLIKE (Patton, Volatility Forecast Comparison Using Imperfect Volatility Proxies, 2011)."""
        logarithm = outputs.squeeze(1)
        return (logarithm + target * (-logarithm).exp()).mean()

    def metrics(self, outputs: "Tensor", target: "Tensor") -> dict[str, float]:
        return {"qlike": self.loss(outputs, target).item()}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        from library.networks import garch

        answers = np.empty((len(test["bars"]), 1))
        learnt, asked = (returns(items["bars"]) for items in (train, test))
        for market in range(len(MARKETS)):
            own, its = train["market"] == market, test["market"] == market
            answers[its, 0] = garch.fit(learnt[own], train["variance"][own]).forecast(asked[its])
        return answers
