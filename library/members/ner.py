"""ner: names of people, organisations, places, groups, dates and money in English text, as a larger model taught it."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.silver_names import SilverNames, words_of
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays

MOST_WORDS = 1000


class NerConfig(Config):
    """What a training of ner can be told."""

    epochs: int = Field(default=3, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=64, ge=8, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=4e-3, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    width: int = Field(default=96, ge=8, le=512, json_schema_extra=LOG_SCALE, description="of what is known of a word")
    vector: int = Field(default=48, ge=4, le=256, json_schema_extra=LOG_SCALE, description="of each look of a word")
    windows: int = Field(default=3, ge=1, le=8, description="how often a word sees its neighbours")
    dropout: float = Field(default=0.3, ge=0, le=0.8)


class Ner(Model[NerConfig]):
    """Vectors of how words look, convolutions over words and their neighbours, a label for each word."""

    name = "ner"
    task_type = TaskType.TAGGING
    dataset = SilverNames.name
    code_version = "1.0.0"
    labels = SilverNames.labels
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(
            TensorSpec(name="tags", datatype="INT64", shape=(-1, -1)),
            TensorSpec(name="words", datatype="BYTES", shape=(-1, -1)),
        ),
    )
    gate = Gate(conditions=(Condition(metric="entity_f1", threshold=0.62),))
    baseline = Baseline(
        method="of each word the label that it has most often, of unknown capitalised words that of rare ones",
        metric="entity_f1",
    )
    card = Card(
        title="Names in English text",
        intended_use="To find who, what and where a text speaks of, with the dates and sums in it.",
        data="Sentences of newspapers, films, tweets and mails (VADER, SpamAssassin), 25,913 to train and 5,397 to "
        "test, in which en_core_web_sm 3.8.0 of spaCy found names: silver labels, no person looked. Whole articles "
        "and threads in one part.",
        licence="Code and weights: as the platform. Teacher: MIT, Explosion. Sentences: MIT (VADER; cite the paper) "
        "and Apache-2.0 (the mails' package; mails are their authors').",
        limits="Agreement, not accuracy: it finds what its teacher finds, whose own F1 on edited text is 0.84. On the "
        "test part F1 0.683 with the teacher, a table of words 0.396 (lead 0.272 to 0.302). By kind: groups and dates "
        "0.78, places 0.72, persons 0.70, organisations 0.60, money 0.49. English alone; other kinds of the teacher's "
        "18, such as titles and numbers, are left out; names in small letters are missed.",
    )
    config = NerConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"text": np.array([b"Ada Lovelace met Charles Babbage in London on 5 June 1833."], object)}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.cuts import spaced_words

        return spaced_words("text", MOST_WORDS)

    def build(self, config: NerConfig) -> "nn.Module":
        from library.networks.words import Tagger

        return Tagger(len(self.labels), config.width, config.vector, config.windows, config.dropout)

    def back(self, module: "nn.Module") -> "onnx.ModelProto":  # noqa: ARG002
        from library.graphs.cuts import cut_as

        return cut_as("words")

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":
        """The first word of a text may be capitalised for another reason."""
        import numpy as np

        known = _labels_of_words(train)
        seen_once = (found for found in known.values() if found.total() == 1)
        rare = Counter(label for found in seen_once for label in found if label)
        usual = {word: found.most_common(1)[0][0] for word, found in known.items()}
        unknown = rare.most_common(1)[0][0] if rare else 0
        outputs = np.zeros_like(test["tags"])
        for row, words in zip(outputs, _words(test), strict=True):
            for place, word in enumerate(words[: len(row)]):
                row[place] = usual.get(word, unknown if place and word[0].isupper() else 0)
        return outputs


def _labels_of_words(items: "Arrays") -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for words, tags in zip(_words(items), items["tags"].tolist(), strict=True):
        for word, tag in zip(words, tags, strict=False):
            found[word][tag] += 1
    return found


def _words(items: "Arrays") -> list[list[str]]:
    from library.graphs.cuts import SPACES

    texts = words_of([text.decode() for text in items["text"].tolist()])
    return [[word.lstrip(SPACES) for word in words] for words in texts]
