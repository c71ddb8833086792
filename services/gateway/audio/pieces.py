"""Long sound in pieces that a model takes at once, divided where it is quiet. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from services.gateway.audio.decoding import Samples

LONGEST_SECONDS: Final = 29.0
SOUGHT_SECONDS: Final = 10.0
WINDOW_SECONDS: Final = 0.1


class Piece(NamedTuple):
    """Samples, and where they begin and end, in seconds."""

    samples: Samples
    start: float
    end: float


def pieces(samples: Samples, rate: int) -> Iterator[Piece]:
    """All of the samples in order, in pieces of at most 29 s; silence is left out."""
    start = 0
    while start < len(samples):
        end = _end(samples, start, rate)
        found = samples[start:end]
        if found.any():
            yield Piece(found, start / rate, end / rate)
        start = end


def _end(samples: Samples, start: int, rate: int) -> int:
    """The middle of the quietest tenth of a second among the last ten that fit."""
    last = start + int(LONGEST_SECONDS * rate)
    if last >= len(samples):
        return len(samples)
    window, first = int(WINDOW_SECONDS * rate), last - int(SOUGHT_SECONDS * rate)
    windows = np.square(samples[first:last]).reshape(-1, window).mean(axis=1)
    return first + int(windows.argmin()) * window + window // 2
