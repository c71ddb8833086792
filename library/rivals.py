"""What baselines of several members share."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays, Model


def word_counts(model: "Model[Any]", items: "Arrays", words: int) -> sparse.csr_matrix:
    """How often each number of the model's front, 1 to `words`, occurs in each row."""
    (numbers,) = (tensor.numpy() for tensor in model.inputs(items))
    rows, _ = np.nonzero(numbers)
    found = numbers[numbers > 0]
    return sparse.coo_matrix((np.ones(len(found)), (rows, found)), shape=(len(numbers), words + 1)).tocsr()


def logistic(train: "NDArray[Any]", target: "NDArray[Any]", test: "NDArray[Any]") -> "NDArray[Any]":
    """The probabilities of a logistic regression on standardised columns."""
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(_flat(train), target)
    answers: NDArray[Any] = estimator.predict_proba(_flat(test))
    return answers


def ridge(train: "NDArray[Any]", target: "NDArray[Any]", test: "NDArray[Any]") -> "NDArray[Any]":
    """The numbers of a ridge regression on standardised columns, which chooses its own penalty."""
    penalties = np.logspace(-1, 3, 9)
    estimator = make_pipeline(StandardScaler(), RidgeCV(penalties)).fit(_flat(train), target)
    answers: NDArray[Any] = estimator.predict(_flat(test))[:, None]
    return answers


def _flat(items: "NDArray[Any]") -> "NDArray[Any]":
    return items.reshape(len(items), -1)
