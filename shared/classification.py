"""The classification extension of the protocol: the best of each row of scores, as 'score:index:label'."""

from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np

from shared.tensors import DTYPES, Tensor, from_numpy, to_numpy

CLASSIFIED: Final = frozenset(DTYPES) - {"BOOL", "FP16"}


def classified(tensor: Tensor, count: int, labels: Sequence[str], is_batched: bool) -> Tensor:
    """At most `count` classes of each row, best first; of equal scores the lower index comes first.

    Labels that are not one for each class are left out.
    """
    rows = tensor.shape[0] if is_batched else 1
    classes = prod(tensor.shape[1:] if is_batched else tensor.shape)
    count = min(count, classes)
    scores = to_numpy(tensor).reshape(rows, classes)
    best = classes - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    endings = [f":{label}" for label in labels] if len(labels) == classes else [""] * classes
    form = "{:f}:{}{}" if scores.dtype.kind == "f" else "{}:{}{}"
    texts = [
        form.format(score, index, endings[index]).encode()
        for found, order in zip(scores.tolist(), best.tolist(), strict=True)
        for index in order
        for score in (found[index],)
    ]
    array = np.empty(len(texts), object)
    array[:] = texts
    return from_numpy(tensor.name, array.reshape((rows, count) if is_batched else (count,)))
