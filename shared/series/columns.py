"""The columns of a series, as they lie in the database and as charts need them; pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tsdownsample import MinMaxLTTBDownsampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

STEP, NUMBER = np.dtype("<i8"), np.dtype("<f8")
LEAST_POINTS = 8
_DOWNSAMPLER = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Columns:
    """Steps, times (seconds since 1970) and values of some points, in the order in which they were said."""

    steps: "NDArray[np.int64]"
    times: "NDArray[np.float64]"
    values: "NDArray[np.float64]"

    @classmethod
    def of(cls, steps: "Sequence[int]", times: "Sequence[float]", values: "Sequence[float]") -> "Columns":
        return cls(np.asarray(steps, STEP), np.asarray(times, NUMBER), np.asarray(values, NUMBER))

    @classmethod
    def unpacked(cls, steps: bytes, times: bytes, values: bytes) -> "Columns":
        return cls(np.frombuffer(steps, STEP), np.frombuffer(times, NUMBER), np.frombuffer(values, NUMBER))

    @classmethod
    def joined(cls, parts: "Iterable[Columns]") -> "Columns":
        given = [*parts, cls.of([], [], [])]
        return cls(*(np.concatenate([getattr(part, name) for part in given]) for name in ("steps", "times", "values")))

    def __len__(self) -> int:
        return len(self.steps)

    def packed(self) -> tuple[bytes, bytes, bytes]:
        return self.steps.tobytes(), self.times.tobytes(), self.values.tobytes()

    def where(self, chosen: "NDArray[Any]") -> "Columns":
        """Those points that a mask or an array of places names."""
        return Columns(self.steps[chosen], self.times[chosen], self.values[chosen])


def thinned(x: "NDArray[Any]", y: "NDArray[Any]", most: int) -> "NDArray[np.int64]":
    """The places of at most so many points that show the same curve: its ends and its extremes are among them.

    x does not fall, and both are finite; `most` is 8 or more.
    """
    if len(x) <= most:
        return np.arange(len(x))
    kept = _DOWNSAMPLER.downsample(np.ascontiguousarray(x, NUMBER), np.ascontiguousarray(y, NUMBER), n_out=most - 4)
    musts = [0, len(x) - 1, int(y.argmin()), int(y.argmax())]
    return np.union1d(kept.astype(np.int64), np.asarray(musts, np.int64))
