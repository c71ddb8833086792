"""spam-filter: tells spam from ham by the words of a mail, which hashing turns into numbers inside the graph."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.mails import Mails
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

BUCKETS = 1 << 16
MOST_WORDS = 400


class SpamFilterConfig(Config):
    """What a training of spam-filter can be told."""

    epochs: int = Field(default=12, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=3e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=32, ge=4, le=256, json_schema_extra=LOG_SCALE, description="of a word's vector")
    dropout: float = Field(default=0.3, ge=0, le=0.8)


class SpamFilter(Model[SpamFilterConfig]):
    """Mean and greatest of the words' vectors, and two linear layers over them."""

    name = "spam-filter"
    task_type = TaskType.CLASSIFICATION
    dataset = Mails.name
    code_version = "1.0.0"
    labels = Mails.labels
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
    )
    gate = Gate(conditions=(Condition(metric="roc_auc", threshold=0.99), Condition(metric="macro_f1", threshold=0.95)))
    baseline = Baseline(method="naive Bayes on the same words", metric="roc_auc")
    card = Card(
        title="Spam or ham, from the text of a mail",
        intended_use="To sort English mail, with a person able to look at what was sorted out.",
        data="SpamAssassin's public corpus, 6,046 mails, whole threads in one part: 70% train, 15% each other.",
        licence="Code and weights: as the platform. Corpus: see its source; mails are their authors'.",
        limits="Mail of 2002 and 2003, English for the most part: measure on your own mail before you trust it.",
    )
    config = SpamFilterConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"text": np.array([b"You have WON $1,000,000\nClick here to claim your free prize now!!!"], object)}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.front import hashed_words

        return hashed_words("text", BUCKETS, MOST_WORDS)

    def build(self, config: SpamFilterConfig) -> "nn.Module":
        from torch import nn

        from library.networks.layers import WordBag

        return nn.Sequential(
            WordBag(BUCKETS, config.width),
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, len(self.labels)),
        )

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        from sklearn.naive_bayes import MultinomialNB

        from library.evaluation.rivals import word_counts

        learnt, asked = (word_counts(self, items, BUCKETS) for items in (train, test))
        answers: NDArray[Any] = MultinomialNB().fit(learnt, train["kind"]).predict_proba(asked)
        return answers
