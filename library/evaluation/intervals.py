"""How far a figure that is a mean over items might lie elsewhere: intervals by bootstrap, with a fixed seed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

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
    """The interval of a metric of these outputs less the rival's, item by item; empty for one that is no mean."""
    if metric not in PER_ITEM:
        return {}
    low, high = interval(PER_ITEM[metric](truth, outputs) - PER_ITEM[metric](truth, rival))
    return {f"{metric}_less_baseline_low": low, f"{metric}_less_baseline_high": high}


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


PER_ITEM: Final[dict[str, Callable[["Array", "Array"], "Array"]]] = {
    "log_loss": log_loss,
    "qlike": qlike,
    "accuracy": _hit,
    "precision_at_10": precision_at_10,
}
