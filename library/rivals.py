"""What baselines of several members share."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from library.base import Arrays, Model


def word_counts(model: "Model[Any]", items: "Arrays", words: int) -> sparse.csr_matrix:
    """How often each number of the model's front, 1 to `words`, occurs in each row."""
    (numbers,) = (tensor.numpy() for tensor in model.inputs(items))
    rows, _ = np.nonzero(numbers)
    found = numbers[numbers > 0]
    return sparse.coo_matrix((np.ones(len(found)), (rows, found)), shape=(len(numbers), words + 1)).tocsr()
