"""thyroid: sorts a person's hormones and history into seven kinds of diagnosis; cells may be missing."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.thyroid import COLUMNS, Thyroid
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays, Tensors

SMOOTHING = 0.05


class ThyroidConfig(Config):
    """What a training of thyroid can be told."""

    epochs: int = Field(default=60, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=128, ge=8, le=1024, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=2e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=5e-2, ge=0, le=0.3)
    hidden: int = Field(default=128, ge=8, le=512, json_schema_extra=LOG_SCALE)
    steps: int = Field(default=32, ge=2, le=64, json_schema_extra=LOG_SCALE, description="into which a column is cut")
    members: int = Field(default=4, ge=1, le=16, description="perceptrons whose answers are averaged")
    dropout: float = Field(default=0.4, ge=0, le=0.8)


class ThyroidModel(Model[ThyroidConfig]):
    """Columns cut into steps where a gap is a step of its own, and a few perceptrons over them that vote."""

    name = "thyroid"
    task_type = TaskType.CLASSIFICATION
    dataset = Thyroid.name
    code_version = "1.0.0"
    labels = Thyroid.labels
    signature = Signature(
        inputs=(TensorSpec(name="record", datatype="FP32", shape=(-1, len(COLUMNS))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, len(Thyroid.labels))),),
    )
    gate = Gate(conditions=(Condition(metric="macro_f1", threshold=0.8), Condition(metric="roc_auc", threshold=0.97)))
    baseline = Baseline(method="boosted trees on the same records", metric="macro_f1")
    card = Card(
        title="Kinds of thyroid disease, from hormones and history",
        intended_use="Demonstration only: to see a medical table with gaps go through the platform. Not a medical "
        "device; no diagnosis, treatment or other decision about a person may rest on it.",
        data="Garvan Institute, Sydney, 1984 to 1987: 9,172 records in order of time: 60% to train, 15% to validate, "
        "25% to test. Letters of diagnosis are grouped as in the notes of the set, treatments as one.",
        licence="Code and weights: as the platform. Data set: CC BY 4.0; the package that brings it says MIT.",
        limits="Measured on the test part: macro-F1 0.849, boosted trees 0.841; but ROC-AUC 0.983, theirs 0.991. "
        "One laboratory, and its measures and limits of forty years ago; seven classes of which six are rare. "
        "The same person may occur twice: records are numbered, people are not.",
    )
    config = ThyroidConfig

    def example(self) -> "Arrays":
        import numpy as np

        known = {"age": 63, "sex": 0, "referral_source": 0, "TSH": 68, "TT4": 48, "T4U": 1.02, "FTI": 47}
        unknown = {"T3": np.nan, "TBG": np.nan}
        return {"record": np.array([[(known | unknown).get(column, 0) for column in COLUMNS]], "<f4")}

    def build(self, config: ThyroidConfig) -> "nn.Module":
        from torch import nn

        from library.networks.tables import Crowd, Ramps

        sizes = (len(COLUMNS) * (2 * config.steps + 1), config.hidden, config.hidden, len(self.labels))
        return nn.Sequential(
            Ramps(len(COLUMNS), config.steps, sharp=True), nn.Flatten(), Crowd(config.members, sizes, config.dropout)
        )

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "Tensor") -> None:
        from library.networks.layers import only
        from library.networks.tables import Ramps

        only(Ramps, module).measure(inputs[0], target)

    def loss(self, outputs: "Tensor", target: "Tensor") -> "Tensor":
        from torch.nn import functional

        return functional.cross_entropy(outputs, target, label_smoothing=SMOOTHING)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from sklearn.ensemble import HistGradientBoostingClassifier

        trees = HistGradientBoostingClassifier(random_state=0)
        answers: NDArray[Any] = trees.fit(train["record"], train["diagnosis"]).predict_proba(test["record"])
        return answers
