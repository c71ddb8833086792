"""fraud: the chance that a card payment is fraud, from its hour, amount and 28 components."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.card_payments import COLUMNS, CardPayments
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors

FAR = 20.0


class FraudConfig(Config):
    """What a training of fraud can be told."""

    epochs: int = Field(default=6, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=1024, ge=64, le=4096, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=2e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1e-2, ge=0, le=0.3)
    hidden: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    steps: int = Field(default=16, ge=2, le=64, json_schema_extra=LOG_SCALE, description="into which a column is cut")
    members: int = Field(default=3, ge=1, le=16, description="perceptrons whose answers are averaged")
    dropout: float = Field(default=0.3, ge=0, le=0.8)


class Fraud(Model[FraudConfig]):
    """Columns both standardised and cut into steps, and a few perceptrons over them whose answers are averaged.

    Frauds, one payment in 580, get no greater weight: the chances stay frequencies, and large batches hold some each.
    """

    name = "fraud"
    task_type = TaskType.CLASSIFICATION
    dataset = CardPayments.name
    code_version = "1.0.0"
    labels = CardPayments.labels
    signature = Signature(
        inputs=(TensorSpec(name="payment", datatype="FP32", shape=(-1, len(COLUMNS))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(conditions=(Condition(metric="average_precision", threshold=0.75),))
    baseline = Baseline(method="logistic regression on the same columns", metric="average_precision")
    card = Card(
        title="Fraud among card payments",
        intended_use="To sort payments for people who look into the likeliest, not to refuse one unseen.",
        data="European cards, two days of September 2013: 284,807 payments, 492 of them fraud, in order of time: 60% "
        "to train, 15% to validate, 25% (71,202 with 94 frauds) to test.",
        licence="Code and weights: as the platform. Data set: DbCL 1.0; its package is BSD-3-Clause or MIT.",
        limits="Measured on the test part: average precision 0.804, logistic regression 0.683; with 94 frauds "
        "the figure is rough. Two days of one place, and components that only that bank can compute: it shows "
        "how to train your own.",
    )
    config = FraudConfig

    def example(self) -> "Arrays":
        import numpy as np

        told = {
            "hour": 0.113,
            "amount": 0.0,
            "V1": -2.31,
            "V3": -1.61,
            "V4": 4.0,
            "V10": -2.77,
            "V12": -2.9,
            "V14": -4.29,
        }
        return {"payment": np.array([[told.get(column, 0.0) for column in COLUMNS]], "<f4")}

    def build(self, config: FraudConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import Standardise
        from library.networks.tables import Beside, Crowd, Ramps

        columns = len(COLUMNS)
        near = nn.Sequential(Standardise(columns), nn.Hardtanh(-FAR, FAR))
        stairs = nn.Sequential(Ramps(columns, config.steps), nn.Flatten())
        sizes = (columns * (config.steps + 2), config.hidden, config.hidden, len(self.labels))
        return nn.Sequential(Beside(near, stairs), Crowd(config.members, sizes, config.dropout))

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import Standardise, only
        from library.networks.tables import Ramps

        only(Standardise, module).measure(inputs[0])
        only(Ramps, module).measure(inputs[0])

    def metrics(self, outputs: "Tensor", target: "Tensor") -> dict[str, float]:
        from sklearn.metrics import average_precision_score

        return {"average_precision": float(average_precision_score(target == 1, outputs[:, 1] - outputs[:, 0]))}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        learnt = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train["payment"], train["kind"])
        answers: NDArray[Any] = learnt.predict_proba(test["payment"])
        return answers
