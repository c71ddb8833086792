"""wine-linear: tells by 13 measures which of three growers made a wine; a member of the library in a wheel."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from library.base import (
    LOG_SCALE,
    NOT_TUNED,
    Card,
    Condition,
    Config,
    DataSet,
    Feature,
    Gate,
    Model,
    Schema,
    Split,
    TaskType,
)
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from library.base import Arrays, Tensors


class Wine(DataSet):
    """178 wines of one region."""

    name = "wine"
    source = "sklearn.datasets.load_wine: 'Wine' (S. Aeberhard, M. Forina, UCI Machine Learning Repository, 1992)"
    licence = "CC BY 4.0"
    labels: ClassVar[tuple[str, ...]] = ("grower 1", "grower 2", "grower 3")
    split = Split(train=0.5, validation=0.2)
    schema = Schema(
        features=(Feature(name="measures", datatype="FP32", shape=(13,), minimum=0),),
        target=Feature(name="grower", datatype="INT64", minimum=0, maximum=2),
    )

    def load(self) -> "Arrays":
        from sklearn.datasets import load_wine

        wines = load_wine()
        return {"measures": wines.data.astype("<f4"), "grower": wines.target.astype("<i8")}


class WineLinearConfig(Config):
    """What a training of wine-linear can be told; few wines need larger steps than the library's default."""

    epochs: int = Field(default=50, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    learning_rate: float = Field(default=5e-2, ge=1e-4, le=1.0, json_schema_extra=LOG_SCALE)


class WineLinear(Model[WineLinearConfig]):
    """Logistic regression on standardised measures."""

    name = "wine-linear"
    task_type = TaskType.CLASSIFICATION
    dataset = Wine.name
    code_version = "1.0.0"
    labels = Wine.labels
    signature = Signature(
        inputs=(TensorSpec(name="measures", datatype="FP32", shape=(-1, 13)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),),
    )
    gate = Gate(conditions=(Condition(metric="accuracy", operator=">=", threshold=0.9),))
    card = Card(
        title="The grower of a wine",
        intended_use="To show how a wheel brings a model to the library.",
        data="scikit-learn's wine: 178 wines; 50% train, 20% validation, 30% test.",
        licence="Code and weights: as the platform. Data set: CC BY 4.0.",
        limits="Three growers of one region.",
    )
    config = WineLinearConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"measures": np.array([[13, 2.3, 2.4, 19, 100, 2.3, 2, 0.36, 1.6, 5, 0.96, 2.6, 750]], dtype="<f4")}

    def build(self, config: WineLinearConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import Standardise

        return nn.Sequential(Standardise(13), nn.Linear(13, len(self.labels)))

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import Standardise, only

        only(Standardise, module).measure(inputs[0])
