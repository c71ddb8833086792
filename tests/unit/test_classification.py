"""The classification extension against the plainest way to say it, and in the form that Triton gives it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared.classification import CLASSIFIED, classified
from shared.tensors import DTYPES, from_numpy, to_numpy

LABELS = ("cat", "dog", "owl")
SCORES = st.sampled_from(sorted(CLASSIFIED)).flatmap(
    lambda name: arrays.arrays(
        DTYPES[name],
        arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4),
        elements=arrays.from_dtype(DTYPES[name], allow_nan=False),
    )
)


def texts(array: NDArray[np.generic], count: int, labels: tuple[str, ...] = (), batched: bool = True) -> list[object]:
    found: list[object] = to_numpy(classified(from_numpy("y", array), count, labels, batched)).tolist()
    return found


@given(SCORES, st.integers(1, 6), st.booleans())
def test_each_row_gives_its_best_in_order(scores: NDArray[np.generic], count: int, batched: bool) -> None:
    expected = []
    rows = scores.reshape(scores.shape[0], int(np.prod(scores.shape[1:]))) if batched else scores.reshape(1, -1)
    for row in rows.tolist():
        best = sorted(range(len(row)), key=lambda index: row[index], reverse=True)[:count]
        form = "%f:%d" if scores.dtype.kind == "f" else "%d:%d"
        expected.append([(form % (row[index], index)).encode() for index in best])
    assert texts(scores, count, (), batched) == (expected if batched else expected[0])


def test_labels_are_told_where_there_is_one_for_each_class() -> None:
    scores = np.array([[0.5, 2, -1], [1, 1, 1]], np.float32)
    assert texts(scores, 2, LABELS) == [
        [b"2.000000:1:dog", b"0.500000:0:cat"],
        [b"1.000000:0:cat", b"1.000000:1:dog"],
    ]
    assert texts(scores, 1, LABELS[:2]) == [[b"2.000000:1"], [b"1.000000:0"]]
    assert texts(np.array([3, 1], np.int8), 9, batched=False) == [b"3:0", b"1:1"]


@pytest.mark.parametrize("datatype", ["BOOL", "FP16", "BF16", "BYTES"])
def test_what_triton_does_not_classify_is_not_classified(datatype: str) -> None:
    assert datatype not in CLASSIFIED
