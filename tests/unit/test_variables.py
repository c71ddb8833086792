"""Files of variables are read whole, or refused."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from library.sources.variables import TYPES, NotReadable, read_variables

ARRAYS = st.sampled_from(TYPES).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_side=4)))
NAMES = st.text(st.sampled_from("abc/_0"), min_size=1, max_size=9)


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def written(variables: dict[str, "np.ndarray"]) -> bytes:
    head = struct.pack("<I", 6) + text("Spec") + struct.pack("<II", 3, len(variables))
    parts = [head]
    for name, array in variables.items():
        kind = next(number for number, dtype in enumerate(TYPES) if array.dtype == np.dtype(dtype))
        parts += [text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", kind, array.nbytes), array.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])


@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
def test_what_was_written_is_read(variables: dict[str, "np.ndarray"]) -> None:
    found = read_variables(written(variables))
    assert found.keys() == variables.keys()
    for name, array in variables.items():
        np.testing.assert_array_equal(found[name], array)


@given(st.integers(0, 60), st.binary(max_size=40))
def test_what_was_cut_short_or_is_something_else_is_refused(end: int, other: bytes) -> None:
    content = written({"weight": np.arange(6, dtype="<f4").reshape(2, 3)})
    with pytest.raises(NotReadable):
        read_variables(content[: min(end, len(content) - 5)])
    if other[:4] != struct.pack("<I", 6):
        with pytest.raises(NotReadable):
            read_variables(other)
