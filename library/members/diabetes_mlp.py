"""diabetes-mlp: predicts how far diabetes goes within a year from ten measures, with a small multilayer perceptron."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.diabetes import Diabetes
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors


class DiabetesMlpConfig(Config):
    """What a training of diabetes-mlp can be told."""

    batch_size: int = Field(default=32, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=3e-2, ge=0, le=0.3)
    hidden: int = Field(default=32, ge=4, le=256, json_schema_extra=LOG_SCALE)
    dropout: float = Field(default=0.4, ge=0, le=0.8)


class DiabetesMlp(Model[DiabetesMlpConfig]):
    """One hidden layer between raw measures and the raw number: it standardises both inside."""

    name = "diabetes-mlp"
    task_type = TaskType.REGRESSION
    dataset = Diabetes.name
    code_version = "1.0.0"
    signature = Signature(
        inputs=(TensorSpec(name="measures", datatype="FP32", shape=(-1, 10)),),
        outputs=(TensorSpec(name="progression", datatype="FP32", shape=(-1, 1)),),
    )
    gate = Gate(
        conditions=(
            Condition(metric="rmse", operator="<=", threshold=55),
            Condition(metric="mae", operator="<=", threshold=45),
            Condition(metric="r2", operator=">=", threshold=0.41),
        )
    )
    baseline = Baseline(method="ridge regression", metric="rmse", operator="<")
    card = Card(
        title="Progression of diabetes within a year, by ten measures",
        intended_use="Demonstration only: to see a regression go through the platform. Not a medical device; "
        "no decision about a person may rest on it.",
        data="442 patients of the study in 'Least Angle Regression' (2004); 60% train, 15% validation, 25% test.",
        licence="Code and weights: as the platform. Data set: published with the article, no licence of its own.",
        limits="Explains less than half of the variance, about as much as ridge regression does; few patients, "
        "one study, and a row of anything else still gets a number.",
    )
    config = DiabetesMlpConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"measures": np.array([[48, 1, 26.4, 95, 189, 115, 50, 4, 4.6, 91]], dtype="<f4")}

    def build(self, config: DiabetesMlpConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import Restore, Standardise

        return nn.Sequential(
            Standardise(10),
            nn.Linear(10, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
            Restore(1),
        )

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import Restore, Standardise, only

        only(Standardise, module).measure(inputs[0])
        only(Restore, module).measure(target[:, None])

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import ridge

        return ridge(train["measures"], train["progression"], test["measures"])
