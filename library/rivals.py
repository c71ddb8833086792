"""What baselines of several members share."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays, Model


def word_counts(model: "Model[Any]", items: "Arrays", words: int) -> sparse.csr_matrix:
    """How often each number of the model's front, 1 to `words`, occurs in each row."""
    (numbers,) = (tensor.numpy() for tensor in model.inputs(items))
    rows, _ = np.nonzero(numbers)
    found = numbers[numbers > 0]
    return sparse.coo_matrix((np.ones(len(found)), (rows, found)), shape=(len(numbers), words + 1)).tocsr()


def seen_by(histories: "NDArray[Any]", things: int) -> "NDArray[Any]":
    """1 where a row of numbers, 1 to `things` and 0 for none, names a thing: [rows, things]."""
    seen = np.zeros((len(histories), things + 1), "<f4")
    np.put_along_axis(seen, histories.astype(int), 1, axis=1)
    return seen[:, 1:]


def implicit_als(seen: "NDArray[Any]", width: int = 32, rounds: int = 8, trust: float = 1, ridge: float = 10) -> Any:
    """Scores of all things for each row (Hu, Koren, Volinsky, Collaborative Filtering for Implicit Feedback, 2008)."""
    random = np.random.RandomState(0)
    rows, things = (random.normal(scale=0.1, size=(count, width)) for count in seen.shape)
    for _ in range(rounds):
        rows = _solved(seen, things, trust, ridge)
        things = _solved(seen.T, rows, trust, ridge)
    return _solved(seen, things, trust, ridge) @ things.T


def _solved(seen: "NDArray[Any]", others: "NDArray[Any]", trust: float, ridge: float) -> "NDArray[Any]":
    """The vectors that explain best what each row has seen, given the vectors of what there is to see."""
    common = others.T @ others + ridge * np.eye(others.shape[1])
    found = np.empty((len(seen), others.shape[1]))
    for row, mask in enumerate(seen):
        own = others[mask > 0]
        found[row] = np.linalg.solve(common + trust * own.T @ own, (1 + trust) * own.sum(axis=0))
    return found
