"""How early what was right is named, of each item. Pure."""

from typing import TYPE_CHECKING, Any, Final

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

TOP: Final = 10


def per_item(truth: "Array", outputs: "Array") -> "dict[str, Array]":
    """NDCG and recall among the first ten, and the reciprocal of the first right one's rank.

    Outputs are a score per thing that may be named, or numbers of the best, integers, -1 where there are no more;
    truth is the number of the right one, or several padded by -1. Of equal scores the right one counts as the last: a
    model that tells nothing apart finds nothing. Raises InvalidInput where they do not fit each other.
    """
    import numpy as np

    right = truth.reshape(len(truth), -1)
    if outputs.dtype.kind == "i" and outputs.ndim == 2:
        outputs = _as_scores(outputs, right)
    if outputs.ndim != 2 or right.max() >= outputs.shape[1] or (right < 0).all(axis=1).any():
        raise InvalidInput(f"outputs of shape {list(outputs.shape)} do not hold a score for what is right")
    own = np.where(right >= 0, np.take_along_axis(outputs, right.clip(0), axis=1), -np.inf)
    places = np.stack([(outputs >= column[:, None]).sum(axis=1) - 1 for column in own.T], axis=1)
    found, wanted = (places < TOP) & (right >= 0), (right >= 0).sum(axis=1)
    gains, best = found / np.log2(places + 2.0), np.cumsum(1 / np.log2(np.arange(TOP) + 2.0))
    return {
        "ndcg_at_10": gains.sum(axis=1) / best[wanted.clip(1, TOP) - 1],
        "recall_at_10": found.sum(axis=1) / wanted,
        "reciprocal_rank": 1.0 / (np.where(right >= 0, places, outputs.shape[1]).min(axis=1) + 1),
    }


def _as_scores(numbers: "Array", right: "Array") -> "Array":
    """A score per thing, higher the earlier it was named, and below all where it was not."""
    import numpy as np

    scores = np.full((len(numbers), 2 + max(numbers.max(), right.max())), -np.inf)
    places = np.broadcast_to(-np.arange(numbers.shape[1], dtype=float)[::-1], numbers.shape)
    np.put_along_axis(scores, numbers[:, ::-1], places, axis=1)
    return scores[:, :-1]
