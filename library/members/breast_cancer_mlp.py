"""breast-cancer-mlp: tells malignant from benign by 30 measures of a sample, with a small multilayer perceptron."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.breast_cancer import BreastCancer
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors


class BreastCancerMlpConfig(Config):
    """What a training of breast-cancer-mlp can be told."""

    batch_size: int = Field(default=32, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=1e-2, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1e-2, ge=0, le=0.3)
    hidden: int = Field(default=32, ge=4, le=256, json_schema_extra=LOG_SCALE)
    dropout: float = Field(default=0.2, ge=0, le=0.8)


class BreastCancerMlp(Model[BreastCancerMlpConfig]):
    """One hidden layer; standardises raw measures itself, by means and deviations of its training part."""

    name = "breast-cancer-mlp"
    task_type = TaskType.CLASSIFICATION
    dataset = BreastCancer.name
    code_version = "1.0.0"
    labels = BreastCancer.labels
    signature = Signature(
        inputs=(TensorSpec(name="measures", datatype="FP32", shape=(-1, 30)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(
        conditions=(
            Condition(metric="roc_auc", operator=">=", threshold=0.99),
            Condition(metric="accuracy", operator=">=", threshold=0.95),
            Condition(metric="log_loss", operator="<=", threshold=0.15),
        )
    )
    baseline = Baseline(
        method="logistic regression, or within 0.01 of it", metric="roc_auc", operator=">=", factor=0.99
    )
    card = Card(
        title="Malignant or benign, by measures of cell nuclei",
        intended_use="Demonstration only: to see a medical table go through the platform. Not a medical device; "
        "no diagnosis, treatment or other decision about a person may rest on it.",
        data="Breast Cancer Wisconsin (Diagnostic): 569 samples of one hospital, 212 malignant; "
        "60% train, 15% validation, 25% test.",
        licence="Code and weights: as the platform. Data set: CC BY 4.0.",
        limits="One hospital, one way of measuring, the early 1990s; probabilities are not calibrated for any other "
        "population, and a row of anything else still gets an answer.",
    )
    config = BreastCancerMlpConfig

    def example(self) -> "Arrays":
        import numpy as np

        means = [14.0, 19.0, 92.0, 650.0, 0.096, 0.1, 0.09, 0.05, 0.18, 0.063]
        errors = [0.4, 1.2, 2.9, 40.0, 0.007, 0.025, 0.03, 0.012, 0.02, 0.004]
        worst = [16.0, 26.0, 107.0, 880.0, 0.13, 0.25, 0.27, 0.11, 0.29, 0.084]
        return {"measures": np.array([means + errors + worst], dtype="<f4")}

    def build(self, config: BreastCancerMlpConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import Standardise

        return nn.Sequential(
            Standardise(30),
            nn.Linear(30, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(self.labels)),
        )

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import Standardise, only

        only(Standardise, module).measure(inputs[0])

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import logistic

        return logistic(train["measures"], train["diagnosis"], test["measures"])
