"""driving-policy: which manoeuvre a simulated car on a motorway is to begin, from what it sees."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.highway import COLUMNS, MIDDLE, SEEN, HighwayDecisions
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

MIRRORED = (2, 1, 0, 3, 4)
ASIDE = ("left", "right")


class DrivingPolicyConfig(Config):
    """What a training of driving-policy can be told."""

    epochs: int = Field(default=30, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=128, ge=16, le=1024, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1e-2, ge=0, le=0.3)
    width: int = Field(default=64, ge=8, le=256, json_schema_extra=LOG_SCALE, description="of what is kept of a car")
    dropout: float = Field(default=0.05, ge=0, le=0.8)
    prudence: float = Field(default=2.0, ge=0, le=5, description="log-odds that a change of lanes needs, beside others")


class DrivingPolicy(Model[DrivingPolicyConfig]):
    """Learns from a planner, also what it says where careless driving has led; roads are mirrored in training."""

    name = "driving-policy"
    task_type = TaskType.CLASSIFICATION
    dataset = HighwayDecisions.name
    code_version = "1.0.0"
    labels = HighwayDecisions.labels
    signature = Signature(
        inputs=(TensorSpec(name="observation", datatype="FP32", shape=(-1, SEEN, len(COLUMNS))),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, len(HighwayDecisions.labels))),),
    )
    gate = Gate(conditions=(Condition(metric="accuracy", threshold=0.85),))
    baseline = Baseline(method="logistic regression on the same table", metric="accuracy")
    card = Card(
        title="How to drive on a motorway (simulated)",
        intended_use="To show behaviour cloning that is judged by driving. Simulated: not for a real car.",
        data="What a planner says to each frame of 248 roads to train, of 48 to validate and of 100 to test, each road "
        "in one part; simulated by highway-env (three lanes, 20 other cars). Lapses of the driver lead where the "
        "planner would not, and it says how to get out.",
        licence="Code and weights: as the platform. Simulator: MIT.",
        limits="Measured: agrees with the planner on 0.909 of the test part (logistic regression 0.615). Driving 100 "
        "roads that nothing else saw (library.highway.closed_loop): no crash (rate 0 to 0.025, 95%), IDM none "
        "either; 24.2 m/s, 1.12 of IDM's (1.10 to 1.14). Before lane changes needed better odds it crashed on one of "
        "the same roads. One straight road, exact positions, drivers that brake for it.",
    )
    config = DrivingPolicyConfig

    def example(self) -> "Arrays":
        """The car goes 25 m/s in the left lane, and 25 m ahead of it one goes 20 m/s."""
        import numpy as np

        table = np.zeros((1, SEEN, len(COLUMNS)), "<f4")
        table[0, 0] = [1, 0, 0, 25, 0]
        table[0, 1] = [1, 25, 0, -5, 0]
        return {"observation": table}

    def build(self, config: DrivingPolicyConfig) -> "nn.Module":
        from torch import nn

        from library.networks.traffic import Both, Prudent, Traffic

        traffic = Traffic(1, config.width, len(self.labels), config.dropout)
        prudent = Prudent(tuple(config.prudence * (label in ASIDE) for label in self.labels))
        return nn.Sequential(nn.Unflatten(1, (1, SEEN)), Both(traffic, MIDDLE, MIRRORED), prudent)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import logistic

        return logistic(train["observation"], train["manoeuvre"], test["observation"])
