"""product-search: words in, the kinds of products that suit them out, found inside the artifact."""

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import Field

from library.base import NOT_TUNED, Baseline, Card, Condition, Gate, Model, PretrainedConfig, TaskType
from library.data.products import KINDS, Products, kinds
from library.members.sentence_embedder import WEIGHTS, bert, pieces_front
from shared.events.common import Signature, TensorSpec

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays
    from library.networks.text_search import TextSearch

FOUND: Final = 10
MOST_PIECES = 32


class ProductSearchConfig(PretrainedConfig):
    """What product-search can be told; it is served as it came."""

    epochs: int = Field(default=0, ge=0, le=0, json_schema_extra=NOT_TUNED)


class ProductSearch(Model[ProductSearchConfig]):
    """MiniLM's vector of what is asked, beside those of all kinds of products."""

    name = "product-search"
    task_type = TaskType.RANKING
    dataset = Products.name
    code_version = "1.0.0"
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(
            TensorSpec(name="numbers", datatype="INT64", shape=(-1, FOUND)),
            TensorSpec(name="scores", datatype="FP32", shape=(-1, FOUND)),
            TensorSpec(name="names", datatype="BYTES", shape=(-1, FOUND)),
        ),
    )
    gate = Gate(conditions=(Condition(metric="recall_at_10", threshold=0.29),))
    baseline = Baseline(method="full text: BM25 of words without a plural's s", metric="recall_at_10")
    card = Card(
        title="Kinds of products that suit some words",
        intended_use="To find products of a grocery where people use other words than the shop.",
        data="The Complete Journey: 2,376 kinds of products, asked for by 303 names of categories. Weights: MiniLM.",
        licence="Weights: MIT (of the package). Code: as the platform. Data: a vendor's set for teaching.",
        limits="Names are short, with abbreviations. Recall@10 on the test part 0.309, of full text "
        "0.292: 91 questions do not make that sure (lead -0.003 to 0.036). On all 303, of which nothing was learnt, "
        "0.352 and 0.313 (lead 0.025 to 0.052). A linear layer trained on 121 of them added 0.005, and was left out.",
    )
    weights = (WEIGHTS, *Products.archives)
    config = ProductSearchConfig

    def example(self) -> "Arrays":
        import numpy as np

        return {"text": np.array([b"something sweet to drink"], object)}

    def front(self) -> "onnx.ModelProto":
        return pieces_front("text", MOST_PIECES)

    def build(self, config: ProductSearchConfig) -> "nn.Module":  # noqa: ARG002
        import torch

        from library.networks.text_search import TextSearch

        return TextSearch(bert(), torch.from_numpy(_vectors()), FOUND)

    def served(self, module: "nn.Module") -> "nn.Module":
        from library.networks.text_search import Found

        return Found(cast("TextSearch", module))

    def back(self, module: "nn.Module") -> "onnx.ModelProto":  # noqa: ARG002
        from library.graphs.back import named

        return named("numbers_again", "names", kinds(), FOUND)

    def loss(self, outputs: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        from library.networks.text_search import loss

        return loss(outputs, target)

    def metrics(self, outputs: "torch.Tensor", target: "torch.Tensor") -> dict[str, float]:
        from library.networks.text_search import recall

        return {"recall_at_10": recall(outputs, target, FOUND)}

    def baseline_outputs(self, train: "Arrays", test: "Arrays") -> "NDArray[Any]":  # noqa: ARG002
        from library.evaluation.rivals import full_text

        return full_text(kinds(), [text.decode() for text in test["text"].tolist()], FOUND)


@cache
def _vectors() -> "NDArray[Any]":
    """The vectors of all kinds [kinds, width], kept beside the weights: they take seconds, and are always the same."""
    import numpy as np

    from library.files import write_atomically

    digest = sha256("\n".join(kinds()).encode()).hexdigest()
    path = WEIGHTS.fetch().parent / f"products-{digest[:16]}-{ProductSearch.code_version}.npz"
    if not path.is_file():
        from library.files import pack

        write_atomically(path, pack({"vectors": _encoded()}))
    with np.load(path) as found:
        vectors: NDArray[Any] = found["vectors"]
    assert len(vectors) == KINDS
    return vectors


def _encoded() -> "NDArray[Any]":
    import numpy as np
    import torch

    from library.graphs.front import through

    (pieces,) = through(pieces_front("text", MOST_PIECES), {"text": np.array(kinds(), object)}).values()
    with torch.no_grad():
        vectors: NDArray[Any] = bert().eval()(torch.from_numpy(pieces)).numpy()
    return vectors
