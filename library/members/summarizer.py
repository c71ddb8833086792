"""summarizer: the sentences of an English text that tell most of it, as mails' own subject lines taught it."""

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from library.base import LOG_SCALE, NOT_TUNED, Baseline, Card, Condition, Config, Gate, Model, TaskType
from library.data.subject_lines import SubjectLines, is_whole, sentences_of
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays, Tensors
    from library.networks.telling import Telling

MOST_SENTENCES = 200
MOST_WORDS = 60
FOUND = 10
TOLD = 3


class SummarizerConfig(Config):
    """What a training of summarizer can be told."""

    epochs: int = Field(default=8, ge=1, le=10_000, json_schema_extra=NOT_TUNED)
    batch_size: int = Field(default=16, ge=4, le=512, json_schema_extra=LOG_SCALE)
    learning_rate: float = Field(default=1e-2, ge=1e-5, le=1e-1, json_schema_extra=LOG_SCALE)
    weight_decay: float = Field(default=1e-2, ge=0, le=0.1)
    width: int = Field(
        default=32, ge=4, le=256, json_schema_extra=LOG_SCALE, description="of what is known of a sentence"
    )
    dropout: float = Field(default=0.2, ge=0, le=0.8)


class Summarizer(Model[SummarizerConfig]):
    """Place, length, marks and likeness to the rest of each sentence, and two layers over them."""

    name = "summarizer"
    task_type = TaskType.RANKING
    dataset = SubjectLines.name
    code_version = "1.0.0"
    rows = 16
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(
            TensorSpec(name="numbers", datatype="INT64", shape=(-1, FOUND)),
            TensorSpec(name="scores", datatype="FP32", shape=(-1, FOUND)),
            TensorSpec(name="sentences", datatype="BYTES", shape=(-1, FOUND)),
            TensorSpec(name="summary", datatype="BYTES", shape=(-1,)),
        ),
    )
    gate = Gate(conditions=(Condition(metric="reciprocal_rank", threshold=0.65),))
    baseline = Baseline(method="the first sentences of four words or more", metric="reciprocal_rank")
    card = Card(
        title="The sentences that tell most",
        intended_use="To see at a glance what a mail or a short article says, by three of its own sentences.",
        data="SpamAssassin's mails that begin a thread, 345 to train and 193 to test, whole subjects in one part. A "
        "sentence counts as telling that holds half or more of the words of the subject line, which the model never "
        "sees.",
        licence="Code and weights: as the platform. Corpus: see its source; mails are their authors'.",
        limits="No person judged a summary: a subject line is a weak sign of what matters. Reciprocal rank of the "
        "first telling sentence on the test part 0.688, of the mail's first sentences 0.633 (lead 0.003 to 0.111); "
        "one of the three told is telling in 0.850 of mails, of the first three in 0.788. By what answers quote no "
        "lead was found. Mails of 2002 and 2003; English.",
    )
    config = SummarizerConfig

    def example(self) -> "Arrays":
        import numpy as np

        text = (
            b"Hi all. I was away last week. The server moves to the new rack on Friday, so mail will be down from six. "
            b"Please finish what you send before. Any questions? Thanks, Ann"
        )
        return {"text": np.array([text], object)}

    def front(self) -> "onnx.ModelProto":
        from library.graphs.cuts import sentences

        return sentences("text", MOST_SENTENCES, MOST_WORDS)

    def build(self, config: SummarizerConfig) -> "nn.Module":
        from library.networks.telling import Telling

        return Telling(config.width, config.dropout)

    def adapt(self, module: "nn.Module", inputs: "Tensors", target: "torch.Tensor") -> None:  # noqa: ARG002
        cast("Telling", module).measure(*inputs)

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.telling import Summary

        return Summary(cast("Telling", module), FOUND)

    def back(self, module: "nn.Module") -> "onnx.ModelProto":  # noqa: ARG002
        from library.graphs.cuts import told

        return told("numbers_again", "sentences", "summary", FOUND, TOLD)

    def loss(self, outputs: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Mean over the sentences that tell most, each text counting as one."""
        there = target >= 0
        logs = outputs.log_softmax(dim=1).gather(1, target.clamp(min=0))
        return -((logs * there).sum(dim=1) / there.sum(dim=1)).mean()

    def metrics(self, outputs: "torch.Tensor", target: "torch.Tensor") -> dict[str, float]:
        from library.evaluation.ranking import per_item

        return {"reciprocal_rank": float(per_item(target.numpy(), outputs.numpy())["reciprocal_rank"].mean())}

    def figures(self, outputs: "NDArray[Any]", test: "Arrays") -> dict[str, float]:
        """How many of the texts have a telling sentence among the three of their summary."""
        hits = (outputs[:, None, :TOLD] == test["telling"][:, :, None]) & (test["telling"][:, :, None] >= 0)
        return {"told_in_summary": float(hits.any(axis=(1, 2)).mean())}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":  # noqa: ARG002
        import numpy as np

        outputs = np.full((len(test["text"]), FOUND), -1)
        for row, cut in zip(outputs, sentences_of([text.decode() for text in test["text"].tolist()]), strict=True):
            first = [number for number, sentence in enumerate(cut) if is_whole(sentence)][:FOUND]
            row[: len(first)] = first
        return outputs
