"""credit-score: the chance that a credit turns out bad, and what each answer of the applicant adds to it."""

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.credit import COLUMNS, Credit
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors
    from library.networks.tables import Additive


class CreditScoreConfig(Config):
    """What a training of credit-score can be told."""

    epochs: int = Field(default=40, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=1024, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=5e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=0.1, ge=0, le=1)
    steps: int = Field(default=8, ge=2, le=64, json_schema_extra=LOG_SCALE, description="into which a column is cut")


class CreditScore(Model[CreditScoreConfig]):
    """A sum over columns, so that the reasons it gives are the very terms that it adds up."""

    name = "credit-score"
    task_type = TaskType.CLASSIFICATION
    dataset = Credit.name
    code_version = "1.0.0"
    labels = Credit.labels
    signature = Signature(
        inputs=(TensorSpec(name="application", datatype="FP32", shape=(-1, len(COLUMNS))),),
        outputs=(
            TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),
            TensorSpec(name="contributions", datatype="FP32", shape=(-1, len(COLUMNS))),
        ),
    )
    gate = Gate(
        conditions=(
            Condition(metric="roc_auc", threshold=0.83),
            Condition(metric="brier", operator="<=", threshold=0.15),
        )
    )
    baseline = Baseline(method="scorecard: binned weights of evidence, logistic regression", metric="roc_auc")
    card = Card(
        title="Will this credit turn out bad, and why",
        intended_use="To show scoring with reasons. `contributions` says, column by column in the order of the data "
        "set's, how far each moves the log-odds of bad from those of the mean applicant; they add up exactly.",
        data="4,454 applications of a Spanish lender, 1,254 bad: 60% to train, 15% to validate, 25% to test.",
        licence="Code and weights: as the platform. Data set: MIT (modeldata); the package that brings it is GPL-3.0.",
        limits="Measured on the test part: ROC-AUC 0.868, calibration error 0.040 (scorecard: 0.845, 0.021). "
        "Only applicants who got a credit; years unknown. Age and marital status are among "
        "the columns: in many places a lender must not use them. A reason is a term of the model, not a cause.",
    )
    config = CreditScoreConfig

    def example(self) -> "Arrays":
        import numpy as np

        numbers = [0, 48, 41, 90, 80, 0, 0, 1200, 1468]
        kinds = {"Home": 2, "Marital": 0, "Records": 0, "Job": 2}
        return {"application": np.array([[*numbers, *kinds.values()]], "<f4")}

    def build(self, config: CreditScoreConfig) -> "nn.Module":
        from library.networks.tables import Additive

        return Additive(len(COLUMNS), config.steps)

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        cast("Additive", module).measure(inputs[0])

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.tables import Reasoned

        return Reasoned(cast("Additive", module))

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import scorecard

        return scorecard(train["application"], train["status"], test["application"])
