"""sentiment: whether a sentence sounds bad, neither or good."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.opinions import Opinions
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

BUCKETS = 1 << 16
MOST_LETTERS = 300
LENGTHS = (3, 4, 5)
NEUTRAL_COUNTS = 1.4


class SentimentConfig(Config):
    """What a training of sentiment can be told."""

    epochs: int = Field(default=3, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=32, ge=4, le=256, json_schema_extra=LOG_SCALE, description="of a run's vector")
    left_out: float = Field(default=0.4, ge=0, le=0.8, description="share of the runs that a step does not see")
    dropout: float = Field(default=0.3, ge=0, le=0.8)


class Sentiment(Model[SentimentConfig]):
    """Mean and greatest of the vectors of all runs of three to five letters, and two linear layers over them."""

    name = "sentiment"
    task_type = TaskType.CLASSIFICATION
    dataset = Opinions.name
    code_version = "1.0.0"
    labels = Opinions.labels
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),),
    )
    gate = Gate(conditions=(Condition(metric="macro_f1", threshold=0.58),))
    baseline = Baseline(method="logistic regression on weighted words and pairs", metric="macro_f1")
    card = Card(
        title="Mood of a sentence in English",
        intended_use="To see how films, products and news are spoken of, over many sentences.",
        data="VADER's 23,701 sentences of reviews, newspapers and tweets; whole reviews and articles in one part.",
        licence="Code and weights: as the platform. Data: MIT; cite Hutto and Gilbert, 2014.",
        limits="Often wrong on one sentence: even people differ. On the test part macro-F1 0.594, accuracy 0.633; "
        "weighted words have 0.587 and 0.646: no clear lead.",
    )
    config = SentimentConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"text": np.array([b"What a wonderful film, I laughed all evening!"], object)}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.front import hashed_letters

        return hashed_letters("text", BUCKETS, MOST_LETTERS)

    def build(self, config: SentimentConfig) -> "nn.Module":
        from library.networks.grams import gram_classifier

        sizes = (config.width, len(self.labels))
        return gram_classifier(LENGTHS, BUCKETS, *sizes, config.left_out, config.dropout)

    def loss(self, outputs: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Sentences that are neither good nor bad are few, and count as more; people's scores are no certain truth."""
        import torch
        from torch.nn import functional

        weights = torch.tensor([1.0, NEUTRAL_COUNTS, 1.0])
        return functional.cross_entropy(outputs, target, weights, label_smoothing=0.05)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import weighted_words

        return weighted_words(train["text"], train["mood"], test["text"], pairs=True, trust=20)
