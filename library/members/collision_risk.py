"""collision-risk: the chance that a simulated car crashes within two seconds, from the last second that it saw."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.highway import COLUMNS, HISTORY, MIDDLE, SEEN, HighwayRisk
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from library.base import Arrays


class CollisionRiskConfig(Config):
    """What a training of collision-risk can be told."""

    epochs: int = Field(default=12, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=128, ge=16, le=1024, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=2e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=5e-2, ge=0, le=0.3)
    width: int = Field(default=32, ge=8, le=256, json_schema_extra=LOG_SCALE, description="of what is kept of a car")
    dropout: float = Field(default=0.1, ge=0, le=0.8)


class CollisionRisk(Model[CollisionRiskConfig]):
    """Each other car goes through the same perceptron beside the car itself; the greatest of each figure is kept."""

    name = "collision-risk"
    task_type = TaskType.CLASSIFICATION
    dataset = HighwayRisk.name
    code_version = "1.0.0"
    labels = HighwayRisk.labels
    signature = Signature(
        inputs=(TensorSpec(name="observations", datatype="FP32", shape=(-1, HISTORY, SEEN, len(COLUMNS))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(conditions=(Condition(metric="roc_auc", threshold=0.85),))
    baseline = Baseline(method="time to collision, by extrapolating all cars at constant velocity", metric="roc_auc")
    card = Card(
        title="Will the car crash within two seconds (simulated)",
        intended_use="To show how a warning is learnt from what the cars around do. Simulated: not for a real car.",
        data="Simulated by highway-env (three lanes, 20 other cars): every other frame of 248 roads to train, of 48 to "
        "validate and of 100 to test (4,154, 7% before a crash), each road in one part. A planner drives, which is "
        "careless, absent or pushing at times.",
        licence="Code and weights: as the platform. Simulator: MIT.",
        limits="Measured on the test part: ROC-AUC 0.946, time to collision 0.865. Only the mistakes that this driver "
        "makes, on a straight road with exact positions; what a driver decides later cannot be seen.",
    )
    config = CollisionRiskConfig

    def example(self) -> "Arrays":
        """The car goes 30 m/s in the middle lane, and 20 m ahead of it one goes 20 m/s."""
        import numpy as np

        frames = np.zeros((1, HISTORY, SEEN, len(COLUMNS)), "<f4")
        frames[:, :, 0] = [1, 0, 4, 30, 0]
        frames[:, :, 1] = [1, 20, 0, -10, 0]
        frames[0, :, 1, 1] += 2 * np.arange(HISTORY - 1, -1, -1)
        return {"observations": frames}

    def build(self, config: CollisionRiskConfig) -> "nn.Module":
        from library.networks.traffic import Both, Traffic

        return Both(Traffic(HISTORY, config.width, len(self.labels), config.dropout), MIDDLE, (0, 1))

    def metrics(self, outputs: "Tensor", target: "Tensor") -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        return {"roc_auc": float(roc_auc_score(target == 1, outputs[:, 1] - outputs[:, 0]))}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        import numpy as np

        soon = np.exp(-time_to_collision(test["observations"][:, -1]))
        return np.stack([1 - soon, soon], axis=1)


LENGTH, WIDTH, HORIZON, STEP = 5.0, 2.0, 8.0, 0.05


def time_to_collision(tables: "NDArray[Any]") -> "NDArray[Any]":
    """Seconds until the car meets another one if all keep their velocities [items]; 8 where none is met by then."""
    import numpy as np

    times = np.arange(0, HORIZON, STEP).astype("<f4")
    others = tables[:, 1:, :, None]
    met: NDArray[Any] = others[:, :, 0] > 0
    for place, velocity, size in ((1, 3, LENGTH), (2, 4, WIDTH)):
        met = met & (np.abs(others[:, :, place] + others[:, :, velocity] * times) < size)
    meeting: NDArray[Any] = np.any(met, axis=1)
    return np.where(np.any(meeting, axis=1), times[meeting.argmax(axis=1)], HORIZON)
