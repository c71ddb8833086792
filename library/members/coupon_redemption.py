"""coupon-redemption: the chance that a household redeems a coupon of a campaign, and what speaks for it."""

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.coupons import COLUMNS, Coupons
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors
    from library.networks.tables import Additive


class CouponRedemptionConfig(Config):
    """What a training of coupon-redemption can be told."""

    epochs: int = Field(default=30, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=1024, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=2e-2, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=0.05, ge=0, le=1)
    steps: int = Field(default=4, ge=2, le=64, json_schema_extra=LOG_SCALE, description="into which a column is cut")


class CouponRedemption(Model[CouponRedemptionConfig]):
    """A sum over columns, so that the reasons it gives are the very terms that it adds up."""

    name = "coupon-redemption"
    task_type = TaskType.CLASSIFICATION
    dataset = Coupons.name
    code_version = "1.0.0"
    labels = Coupons.labels
    signature = Signature(
        inputs=(TensorSpec(name="letter", datatype="FP32", shape=(-1, len(COLUMNS))),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),
            TensorSpec(name="contributions", datatype="FP32", shape=(-1, len(COLUMNS))),
        ),
    )
    gate = Gate(
        conditions=(
            Condition(metric="log_loss", operator="<=", threshold=0.37),
            Condition(metric="roc_auc", threshold=0.7),
        )
    )
    baseline = Baseline(method="the base rate of the training part", metric="log_loss", operator="<")
    card = Card(
        title="Who redeems a coupon, and why",
        intended_use="To see whom a campaign moves, as a start for a shop's own. `contributions` says, column by "
        "column, how far each moves the log-odds from those of the mean letter; they add up exactly.",
        data="The Complete Journey: 27 campaigns of 2017 in 6,589 letters, 792 of them answered by a coupon; 2,850 of "
        "the campaigns before August to train, 1,708 to validate, 2,031 (260 answered) from 20 October on to test.",
        licence="Code and weights: as the platform. Data set: a vendor's set for teaching.",
        limits="Measured on the test part, at its second look: log-loss 0.302, base rate 0.387 (lead 0.049 to 0.122), "
        "rate of the campaign's type 0.366; ROC-AUC 0.852, calibration error 0.074. A first form counted past answers "
        "and not their share, so that chances grew with time: 0.329. The last campaigns end after the data does. One "
        "shop, one year, households that its vendor chose; a reason is a term of the model, not a cause.",
    )
    config = CouponRedemptionConfig

    def example(self) -> "Arrays":
        import numpy as np

        told = {"days": 47, "coupons": 209, "spent": 900, "baskets": 30, "fitting": 60, "with_coupon": 8}
        past = {"answered": 0.4, "redeemed": 0.8, "since_redeemed": 40}
        return {"letter": np.array([[(told | past).get(column, 0) for column in COLUMNS]], "<f4")}

    def build(self, config: CouponRedemptionConfig) -> "nn.Module":
        from library.networks.tables import Additive

        return Additive(len(COLUMNS), config.steps)

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:  # noqa: ARG002
        cast("Additive", module).measure(inputs[0])

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.tables import Reasoned

        return Reasoned(cast("Additive", module))

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        rate = train["kind"].mean()
        return np.tile([1 - rate, rate], (len(test["kind"]), 1))
