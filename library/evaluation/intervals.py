"""How far a figure that is a mean over items might lie elsewhere: intervals by bootstrap, with a fixed seed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from library.evaluation.ranking import per_item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

ROUNDS: Final = 2000
SEED: Final = 20240501
PERCENTILES: Final = (2.5, 97.5)
LEAST_PROBABILITY: Final = 1e-7
LEAST_VARIANCE: Final = 1e-9
LEAST_LENGTH: Final = 1e-12
TOP: Final = 10
CHUNK: Final = 512


def interval(values: "Array") -> tuple[float, float]:
    """The 95% interval of the mean of values [items] that may follow each other in time.

    Blocks of √n neighbours are drawn, not items, so that neighbours which move together count as few (circular block
    bootstrap: Politis and Romano, 1992).
    """
    import numpy as np

    count = len(values)
    length = max(1, math.isqrt(count))
    sums = np.cumsum([0.0, *values, *values[:length]])
    blocks = (sums[length:] - sums[:-length])[:count] / length
    chosen = np.random.RandomState(SEED).randint(count, size=(ROUNDS, count // length))
    low, high = np.percentile(blocks[chosen].mean(axis=1), PERCENTILES)
    return float(low), float(high)


def beside(metric: str, truth: "Array", outputs: "Array", rival: "Array") -> dict[str, float]:
    """The interval of a metric of these outputs less the rival's, item by item; empty for one that is neither a mean
    nor a share.
    """
    if metric in SHARES:
        low, high = _interval_of_shares(*(SHARES[metric](truth, given) for given in (outputs, rival)))
    elif metric in PER_ITEM:
        low, high = interval(PER_ITEM[metric](truth, outputs) - PER_ITEM[metric](truth, rival))
    else:
        return {}
    return {f"{metric}_less_baseline_low": low, f"{metric}_less_baseline_high": high}


def _interval_of_shares(own: "Array", rival: "Array") -> tuple[float, float]:
    """Of the difference of two shares, each a sum over items divided by another [items, 2]: single items are drawn."""
    import numpy as np

    count, random = len(own), np.random.RandomState(SEED)
    found = []
    for _ in range(ROUNDS):
        drawn = random.randint(count, size=count)
        ours, theirs = (table[drawn].sum(axis=0) for table in (own, rival))
        found.append(ours[0] / max(1, ours[1]) - theirs[0] / max(1, theirs[1]))
    low, high = np.percentile(found, PERCENTILES)
    return float(low), float(high)


def log_loss(truth: "Array", outputs: "Array") -> "Array":
    """Of each item, from a probability per class."""
    import numpy as np

    given = outputs.astype("f8")[np.arange(len(truth)), truth]
    losses: Array = -np.log(given.clip(LEAST_PROBABILITY, 1))
    return losses


def qlike(truth: "Array", outputs: "Array") -> "Array":
    """Of each item, from a variance: its least is at the true variance even where `truth` is only a noisy sign of it
    (Patton, Volatility Forecast Comparison Using Imperfect Volatility Proxies, 2011).
    """
    import numpy as np

    variance: Array = outputs.reshape(truth.shape).astype("f8").clip(LEAST_VARIANCE)
    return np.log(variance) + truth / variance


def precision_at_10(truth: "Array", outputs: "Array") -> "Array":
    """Of each item, how many of the ten nearest others by cosine are of its class."""
    import numpy as np

    vectors = outputs / np.linalg.norm(outputs, axis=1, keepdims=True).clip(LEAST_LENGTH)
    return np.concatenate([_of_its_class(truth, vectors, start) for start in range(0, len(truth), CHUNK)])


def _of_its_class(truth: "Array", vectors: "Array", start: int) -> "Array":
    import numpy as np

    likeness, count = vectors[start : start + CHUNK] @ vectors.T, min(TOP, len(truth) - 1)
    likeness[np.arange(len(likeness)), start + np.arange(len(likeness))] = -np.inf
    nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    shares: Array = (truth[nearest] == truth[start : start + CHUNK, None]).mean(axis=1)
    return shares


def _hit(truth: "Array", outputs: "Array") -> "Array":
    hits: Array = (outputs.argmax(axis=1) == truth).astype("f8")
    return hits


def _of_ranking(metric: str) -> 'Callable[["Array", "Array"], "Array"]':
    return lambda truth, outputs: per_item(truth, outputs)[metric]


def _agreement(truth: "Array", outputs: "Array") -> "Array":
    """Of each row of words: names that are the same, twice, and names of both."""
    import numpy as np

    from library.evaluation.entities import counts

    same, found, wanted = counts(truth, outputs, int(max(truth.max(), outputs.max()) + 1) // 2).sum(axis=1).T
    return np.stack([2 * same, found + wanted], axis=1)


PER_ITEM: Final[dict[str, Callable[["Array", "Array"], "Array"]]] = {
    "log_loss": log_loss,
    "qlike": qlike,
    "accuracy": _hit,
    "precision_at_10": precision_at_10,
    **{metric: _of_ranking(metric) for metric in ("ndcg_at_10", "recall_at_10", "reciprocal_rank")},
}
SHARES: Final[dict[str, Callable[["Array", "Array"], "Array"]]] = {"entity_f1": _agreement}
