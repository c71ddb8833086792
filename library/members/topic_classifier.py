"""topic-classifier: whether a sentence speaks of films, products, politics or is a tweet."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.opinions import Topics
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

BUCKETS = 1 << 16
MOST_LETTERS = 300
LENGTHS = (1, 3, 4, 5)


class TopicClassifierConfig(Config):
    """What a training of topic-classifier can be told."""

    epochs: int = Field(default=6, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=32, ge=4, le=256, json_schema_extra=LOG_SCALE, description="of a run's vector")
    left_out: float = Field(default=0.3, ge=0, le=0.8, description="share of the runs that a step does not see")
    dropout: float = Field(default=0.3, ge=0, le=0.8)


class TopicClassifier(Model[TopicClassifierConfig]):
    """Mean and greatest of the vectors of all runs of one and of three to five letters, and two linear layers."""

    name = "topic-classifier"
    task_type = TaskType.CLASSIFICATION
    dataset = Topics.name
    code_version = "1.0.0"
    labels = Topics.labels
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 4)),),
    )
    gate = Gate(conditions=(Condition(metric="macro_f1", threshold=0.88),))
    baseline = Baseline(method="logistic regression on weighted words", metric="macro_f1")
    card = Card(
        title="Where a sentence in English is from",
        intended_use="To sort short texts by topic and style: film reviews, product reviews, newspapers, tweets.",
        data="VADER's 23,701 sentences; whole reviews and articles in one part: 70% train, 15% each other.",
        licence="Code and weights: as the platform. Data: MIT; cite Hutto and Gilbert, 2014.",
        limits="It reads style, too: the corpus has product reviews in small letters only. Macro-F1 on the "
        "test part 0.910, of weighted words 0.870.",
    )
    config = TopicClassifierConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"text": np.array([b"i bought this camera last month and the battery already died."], object)}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.front import hashed_letters

        return hashed_letters("text", BUCKETS, MOST_LETTERS)

    def build(self, config: TopicClassifierConfig) -> "nn.Module":
        from library.networks.grams import gram_classifier

        sizes = (config.width, len(self.labels))
        return gram_classifier(LENGTHS, BUCKETS, *sizes, config.left_out, config.dropout)

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from library.evaluation.rivals import weighted_words

        return weighted_words(train["text"], train["kind"], test["text"], pairs=False, trust=5)
