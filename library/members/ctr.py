"""ctr: the chance that a person clicks what a shop recommends."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.impressions import CAMPAIGNS, COLUMNS, Impressions
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors

NUMBERS = {"campaign": len(CAMPAIGNS), "user_0": 3, "user_1": 5}


class CtrConfig(Config):
    """What a training of ctr can be told."""

    epochs: int = Field(default=40, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=4096, ge=64, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=0.05, ge=1e-4, le=0.5, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=5e-5, ge=0, le=0.1, description="how strongly it leads back to the base rate")
    trust: float = Field(default=0.14, ge=0, le=1, description="in campaign and user beside past clicks")


class Ctr(Model[CtrConfig]):
    """The base rate, and a sum that leans from it by past clicks of this item, and less by campaign and user."""

    name = "ctr"
    task_type = TaskType.CLASSIFICATION
    dataset = Impressions.name
    code_version = "1.0.0"
    labels = Impressions.labels
    signature = Signature(
        inputs=(TensorSpec(name="impression", datatype="FP32", shape=(-1, len(COLUMNS))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(conditions=(Condition(metric="log_loss", operator="<=", threshold=0.0333),))
    baseline = Baseline(
        method="the base rate of the training part, or at most 1% worse", metric="log_loss", operator="<", factor=1.01
    )
    card = Card(
        title="Whether a recommendation is clicked",
        intended_use="To see rare clicks go through the platform, and as a start for a shop's own, longer logs.",
        data="Open Bandit Dataset, small version: 60,000 impressions of a week of November 2019, 287 of them clicked, "
        "in order of time: 60% to train, 15% to validate, 25% (79 clicks) to test.",
        licence="Code and weights: as the platform. Data set: its package is Apache-2.0; cite the paper.",
        limits="No better than the base rate. Measured on the test part: log-loss 0.0330, base rate 0.0329; the 95% "
        "interval of the difference is -0.00004 to 0.00021; ROC-AUC 0.488. There are too few clicks: who had clicked "
        "an item before did so again 8 of 39 times in the first 30% of the log, 1 of 26 times in the next 45%. Item, "
        "position, policy, hour and the rest of the user made it worse on later days of the first 75%. The gate "
        "refuses what is over 1% worse than the base rate.",
    )
    config = CtrConfig

    def example(self) -> "Arrays":
        import numpy as np

        told = {"policy": 1, "campaign": 1, "item": 7, "position": 2, "hour": 20, "affinity": 1, "interests": 2}
        return {"impression": np.array([[told.get(column, 1) for column in COLUMNS]], "<f4")}

    def build(self, config: CtrConfig) -> "nn.Module":
        from torch import nn

        from library.networks.tables import Chosen, Leaning

        numbers = {COLUMNS.index(column): count for column, count in NUMBERS.items()}
        chosen = Chosen([COLUMNS.index("affinity")], numbers, config.trust)
        return nn.Sequential(chosen, Leaning(chosen.width))

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import only
        from library.networks.tables import Leaning

        only(Leaning, module).measure(target)

    def optimiser(self, module: "nn.Module", config: CtrConfig) -> "torch.optim.Optimizer":
        """Its weight decay is a part of the loss, a ridge, which rare columns feel too."""
        import torch

        return torch.optim.Adam(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        rate = train["kind"].mean()
        return np.tile([1 - rate, rate], (len(test["kind"]), 1))
