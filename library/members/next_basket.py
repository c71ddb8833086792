"""next-basket: which kinds of products a household buys next, from what it bought before."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.baskets import HISTORY, KINDS, Baskets
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays


class NextBasketConfig(Config):
    """What a training of next-basket can be told."""

    epochs: int = Field(default=8, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=128, ge=16, le=2048, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=4e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=48, ge=8, le=256, json_schema_extra=LOG_SCALE, description="of a kind's vector")
    dropout: float = Field(default=0.4, ge=0, le=0.8)


class NextBasket(Model[NextBasketConfig]):
    """What was bought lately is bought again, each kind in its own measure, and what goes with it."""

    name = "next-basket"
    task_type = TaskType.RANKING
    dataset = Baskets.name
    code_version = "1.0.0"
    signature = Signature(
        inputs=(TensorSpec(name="bought", datatype="INT32", shape=(-1, HISTORY)),),
        outputs=(TensorSpec(name="scores", datatype="FP32", shape=(-1, KINDS)),),
    )
    gate = Gate(conditions=(Condition(metric="recall_at_10", threshold=0.28),))
    baseline = Baseline(method="how often the household bought each kind", metric="recall_at_10")
    card = Card(
        title="The next basket of a household",
        intended_use="To suggest what a household may need on its next visit to a grocery.",
        data="The Complete Journey: a year of 2,469 households; weeks 1 to 40 train, 41 to 46 validate, 47 to 53 test.",
        licence="Code and weights: as the platform. Data: a vendor's set for teaching.",
        limits="One chain, regular customers, its thousand commonest kinds; no prices, no days. Of a basket the twenty "
        "commonest kinds count, which leaves out a fifth of what was bought. Recall@10 on the test part 0.292, of the "
        "household's own counts 0.282, interval of the lead 0.004 to 0.017: habit says most of it.",
    )
    config = NextBasketConfig

    def example(self) -> "Arrays":
        import numpy as np

        bought = np.zeros((1, HISTORY), "<i4")
        bought[0, -6:] = (1, 2, 5, 1, 3, 5)
        return {"bought": bought}

    def build(self, config: NextBasketConfig) -> "nn.Module":
        from library.networks.sequences import AgainAndNext

        return AgainAndNext(KINDS, HISTORY, config.width, config.dropout)

    def loss(self, outputs: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Mean over what was bought, each basket counting as one."""
        there = target >= 0
        logs = outputs.log_softmax(dim=1).gather(1, target.clamp(min=0))
        return -((logs * there).sum(dim=1) / there.sum(dim=1)).mean()

    def metrics(self, outputs: "torch.Tensor", target: "torch.Tensor") -> dict[str, float]:
        best = outputs.topk(10, dim=1).indices
        found = (best[:, :, None] == target[:, None, :]).any(dim=1)
        return {"recall_at_10": (found.sum(dim=1) / (target >= 0).sum(dim=1)).mean().item()}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        """Of equal counts the kind that is more common in general comes first."""
        import numpy as np

        counts = np.zeros((len(test["bought"]), KINDS + 1))
        np.add.at(counts, (np.arange(len(counts))[:, None], test["bought"]), 1)
        return counts[:, 1:] - np.arange(KINDS) / KINDS
