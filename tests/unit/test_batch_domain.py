"""How a batch is cut, and how far it is."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.inference.batch import columns, domain
from services.inference.batch.caller import RowsRefused, joined, rows_of
from shared.events.common import Signature, TensorSpec
from shared.signatures import MAX_BATCH
from shared.tables import values
from shared.tables.values import BadValue, Unfit
from shared.tensors import from_numpy, to_numpy

COUNTS = st.integers(1, 5000)


def spec(name: str, datatype: str, *row: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *row))


@given(count=COUNTS, size=COUNTS)
def test_cuts_cover_all_rows_once_in_order(count: int, size: int) -> None:
    covered = [row for cut in domain.cuts(count, size) for row in range(cut.start, cut.stop)]
    assert covered == list(range(count))


@given(count=st.integers(1, 300), size=st.integers(1, 300))
def test_what_is_taken_apart_is_joined_again(count: int, size: int) -> None:
    rows = np.arange(count * 3, dtype="<i4").reshape(count, 3)
    words = np.array([f"{number}" for number in range(count)], object)
    tensors = (from_numpy("x", rows), from_numpy("w", words, "BYTES"))
    assert joined([rows_of(tensors, cut) for cut in domain.cuts(count, size)]) == tensors


def test_answers_of_other_shapes_are_not_joined() -> None:
    one, other = from_numpy("y", np.zeros((2, 3), "<f4")), from_numpy("y", np.zeros((2, 4), "<f4"))
    with pytest.raises(RowsRefused, match=r"'y' has rows of \[3\] and \[4\]"):
        joined([[one], [other]])


@given(side=st.integers(1, 5000), most=COUNTS)
def test_parts_and_requests_have_bounds(side: int, most: int) -> None:
    specs = [spec("x", "FP32", side, side)]
    rows = domain.part_rows(specs, most)
    assert 1 <= rows <= most
    assert rows == 1 or rows * side * side * 4 <= domain.PART_BYTES
    size = domain.request_rows(rows * side * side * 4, rows)
    assert 1 <= size <= MAX_BATCH
    assert size == 1 or size * side * side * 4 <= domain.REQUEST_BYTES


@given(total=COUNTS, share=st.floats(0, 1))
@example(total=285, share=1.0)
def test_progress_rises_from_the_reading_to_the_writing(total: int, share: float) -> None:
    done = int(total * share)
    fraction = domain.asked_fraction(done, total)
    assert domain.READ_SHARE <= fraction <= domain.ASKED_SHARE
    assert fraction <= domain.asked_fraction(min(total, done + 1), total)


def test_time_left_follows_from_the_rows_of_this_attempt() -> None:
    assert domain.seconds_left(500, 1000, 0, 10) is None
    assert domain.seconds_left(500, 1000, 100, 10) == 50


NAMES = st.lists(st.text("abcdefgh. ", min_size=1, max_size=6), min_size=2, max_size=30, unique=True)


@given(names=NAMES, wanted=st.integers(1, 30), data=st.data())
def test_an_only_input_takes_as_many_columns_as_it_has_numbers_or_says_why(
    names: list[str], wanted: int, data: st.DataObject
) -> None:
    numeric = [name for name in names if data.draw(st.booleans())]
    signature = Signature(inputs=(spec("input", "FP32", wanted),))
    if len(numeric) == wanted:
        assert columns.feeds(signature, names, numeric) == [columns.Feed(signature.inputs[0], tuple(numeric), True)]
    else:
        with pytest.raises(
            Unfit, match=f"{len(numeric)} columns of numbers.* takes {wanted}: .* name a column 'input'"
        ):
            columns.feeds(signature, names, numeric)


@given(names=NAMES, data=st.data())
def test_inputs_take_the_columns_of_their_names(names: list[str], data: st.DataObject) -> None:
    used = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    inputs = tuple(spec(name, "FP64") for name in used)
    found = columns.feeds(Signature(inputs=inputs), names, names)
    assert [(feed.spec, feed.columns, feed.is_split) for feed in found] == [(one, (one.name,), False) for one in inputs]


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(numbers=st.lists(FLOATS, min_size=1, max_size=20), datatype=st.sampled_from(["FP16", "FP32", "FP64"]))
def test_numbers_change_by_rounding_alone(numbers: list[float], datatype: str) -> None:
    array = np.array(numbers)
    with np.errstate(over="ignore"):
        wanted = array.astype(values.dtype_of(datatype))
    lost = np.flatnonzero(np.isfinite(array) & ~np.isfinite(wanted))
    if lost.size:
        with pytest.raises(BadValue) as bad:
            values.of_array(array, datatype)
        assert bad.value.row == lost[0]
    else:
        np.testing.assert_array_equal(values.of_array(array, datatype), wanted)


@given(numbers=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9))
def test_large_numbers_without_a_sign_do_not_turn_negative(numbers: list[int]) -> None:
    array = np.array(numbers, "<u8")
    if max(numbers) < 2**63:
        assert values.of_array(array, "INT64").tolist() == numbers
    else:
        with pytest.raises(BadValue, match="does not fit INT64"):
            values.of_array(array, "INT64")


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "FP32"])
def test_text_and_dates_are_no_numbers(datatype: str) -> None:
    for array in (np.array(["1"]), np.array(["2026-01-01"], "datetime64[D]"), np.array([1j]), np.array([b"x"], object)):
        with pytest.raises(BadValue, match="the model takes"):
            values.of_array(array, datatype)


def test_truths_are_read_in_words_and_figures() -> None:
    assert values.of_texts(["true", "False", "1", " 0 "], "BOOL").tolist() == [True, False, True, False]
    with pytest.raises(BadValue, match="'yes' is none of true or false"):
        values.of_texts(["yes"], "BOOL")


def test_half_precision_of_the_other_kind_is_kept() -> None:
    found = values.of_texts(["1.5", "-2"], "BF16")
    assert to_numpy(from_numpy("x", found, "BF16")).tolist() == [1.5, -2]
