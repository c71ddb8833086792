"""driving-clips: whether a car seen from above crosses into another lane, from eight small pictures."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.highway import CLIP, HighwayClips
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

ALONE_EPOCHS = 6


class DrivingClipsConfig(Config):
    """What a training of driving-clips can be told."""

    epochs: int = Field(default=5, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=32, ge=8, le=256, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=32, ge=8, le=128, json_schema_extra=LOG_SCALE, description="of what is kept of a frame")
    dropout: float = Field(default=0.1, ge=0, le=0.8)


class DrivingClips(Model[DrivingClipsConfig]):
    """Each frame goes through the same small convolutional network; what it says is read along time."""

    name = "driving-clips"
    task_type = TaskType.CLASSIFICATION
    dataset = HighwayClips.name
    code_version = "1.0.0"
    labels = HighwayClips.labels
    signature = Signature(
        inputs=(TensorSpec(name="clip", datatype="UINT8", shape=(-1, CLIP, 32, 64)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),),
    )
    gate = Gate(conditions=(Condition(metric="accuracy", threshold=0.85), Condition(metric="macro_f1", threshold=0.8)))
    baseline = Baseline(method="the same network, trained on the last frame alone", metric="accuracy")
    card = Card(
        title="Does the car change lanes (simulated video)",
        intended_use="To show how short clips are classified: frame by frame, then along time. Simulated.",
        data="Clips of 1.6 s rendered by highway-env, labelled by the simulator's own lanes: of 100 roads to train, of "
        "30 to validate and of 50 to test, each road in one part; of clips without a crossing only one in six.",
        licence="Code and weights: as the platform. Simulator: MIT.",
        limits="Measured on the test part: accuracy 0.993; the same network on the last frame alone 0.674. Clean "
        "drawings of a straight road from above, always with the car at one place: no camera sees this.",
    )
    config = DrivingClipsConfig

    def example(self) -> "Arrays":
        """A road of three lanes under a car that moves from the lowest to the middle one, so the road moves down."""
        import numpy as np

        clip = np.full((1, CLIP, 32, 64), 100, "u1")
        for frame in range(CLIP):
            moved = round(5 * frame / (CLIP - 1))
            clip[0, frame, [1 + moved, 18 + moved - 2]] = 230
            clip[0, frame, [6 + moved, 11 + moved], ::2] = 200
        clip[0, :, 15:17, 20:26] = 130
        return {"clip": clip}

    def build(self, config: DrivingClipsConfig) -> "nn.Module":
        from library.networks.clips import Clips

        return Clips(CLIP, config.width, len(self.labels), config.dropout)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.networks.clips import Clips, answers_of_trained

        learnt, asked = (items["clip"][:, -1:] for items in (train, test))
        config = self.validate({"epochs": ALONE_EPOCHS})
        return answers_of_trained(
            lambda: Clips(1, config.width, len(self.labels), config.dropout), config, learnt, train["crossing"], asked
        )
