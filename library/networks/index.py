"""Search inside the artifact: vectors of things lie beside the weights, so that serving asks no database."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Index(nn.Module):
    """Vectors of things [things, width]; to queries [batch, width] the nearest by cosine, the best first.

    Gives numbers of things [batch, count], INT64, and their scores [batch, count], FP32, from -1 to 1: a MatMul and a
    TopK in the exported graph. The vectors are a buffer, filled in a model's `adapt`, or in its `served`.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, count: int = 10) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("vectors", _directions(vectors))

    def fill(self, vectors: Tensor) -> None:
        """Hold these things instead, `count` of them at least."""
        self.vectors = _directions(vectors)

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        likeness = functional.normalize(queries, dim=1) @ self.vectors.T
        scores, numbers = torch.topk(likeness, self.count, dim=1)
        return numbers, scores


def _directions(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors.detach().float(), dim=1)
