"""digits-cnn: reads one handwritten digit from an 8 x 8 grey image with a small convolutional network."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.digits import Digits
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays


class DigitsCnnConfig(Config):
    """What a training of digits-cnn can be told."""

    epochs: int = Field(default=20, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=2e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    channels: Literal[8, 16, 32, 64] = Field(default=32, description="of the first convolution; twice in the second")
    hidden: int = Field(default=128, ge=16, le=512, json_schema_extra=LOG_SCALE)
    dropout: float = Field(default=0.25, ge=0, le=0.8)
    shift: Literal[0, 1, 2] = Field(default=1, description="pixels that training moves images by, at most")


class DigitsCnn(Model[DigitsCnnConfig]):
    """Two convolutions, one pooling, two linear layers; divides raw pixels (0 to 16) by 16 itself."""

    name = "digits-cnn"
    task_type = TaskType.CLASSIFICATION
    dataset = Digits.name
    code_version = "1.0.0"
    labels = Digits.labels
    signature = Signature(
        inputs=(TensorSpec(name="image", datatype="FP32", shape=(-1, 1, 8, 8)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 10)),),
    )
    gate = Gate(
        conditions=(
            Condition(metric="accuracy", operator=">=", threshold=0.97),
            Condition(metric="macro_f1", operator=">=", threshold=0.96),
        )
    )
    baseline = Baseline(method="logistic regression on the pixels", metric="accuracy")
    card = Card(
        title="Handwritten digit from an 8 x 8 image",
        intended_use="To try the platform from data to prediction; to read single, centred, upright digits.",
        data="scikit-learn's digits: 1,797 images by 13 writers; 70% train, 15% validation, 15% test.",
        licence="Code and weights: as the platform. Data set: CC BY 4.0.",
        limits="One digit an image, by few writers; an image of anything else still gets a digit.",
    )
    config = DigitsCnnConfig

    def example(self) -> "Arrays":
        import numpy as np

        ink = np.zeros((1, 1, 8, 8), dtype="<f4")
        ink[0, 0, :, 3:5] = 15
        ink[0, 0, 1:3, 2] = 9
        return {"image": ink}

    def build(self, config: DigitsCnnConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import RandomShift, Scale

        wide = 2 * config.channels
        return nn.Sequential(
            Scale(1 / 16),
            RandomShift(config.shift),
            nn.Conv2d(1, config.channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(config.channels),
            nn.ReLU(),
            nn.Conv2d(config.channels, wide, kernel_size=3, padding=1),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(wide * 4 * 4, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(self.labels)),
        )

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import logistic

        return logistic(train["image"], train["digit"], test["image"])
