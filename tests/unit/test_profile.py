"""A profile tells what there is and nothing that there is not; it and the preview are JSON."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from library.base import DataSet, Feature, Part, Schema
from library.sources.profile import MOST_COLUMNS, SHOWN_ITEMS, preview, profile


class Table(DataSet):
    """Two columns with a gap, a text, and three classes."""

    name = "table"
    source = licence = "of this test"
    labels = ("none", "some", "many")
    schema = Schema(
        features=(
            Feature(name="row", datatype="FP32", shape=(2,), columns=("age", "height")),
            Feature(name="note", datatype="BYTES"),
        ),
        target=Feature(name="kind", datatype="INT64"),
    )

    def load(self) -> dict[str, Any]:
        raise AssertionError("these tests have the parts")


def items(rows: Any, notes: list[bytes] | None = None, kinds: list[int] | None = None) -> dict[str, Any]:
    rows = np.asarray(rows, "<f4").reshape(-1, 2)
    notes = notes or [b"x"] * len(rows)
    return {"row": rows, "note": np.array(notes, "S9"), "kind": np.array(kinds or [0] * len(rows))}


def parts(train: dict[str, Any]) -> dict[Part, dict[str, Any]]:
    return {Part.TRAIN: train, Part.VALIDATION: items([1, 2], kinds=[2]), Part.TEST: items([3, 4], kinds=[1])}


def test_it_counts_what_is_missing_and_leaves_it_out_of_the_figures() -> None:
    train = items([[1, 10], [np.nan, 20], [3, 30]], [b"", b"abc", b"abc"], [0, 1, 1])
    age, height, note = profile(Table(), parts(train))["columns"]
    assert (age["name"], age["missing"], age["minimum"], age["maximum"], age["mean"]) == ("age", 1, 1.0, 3.0, 2.0)
    assert (height["missing"], height["deciles"][5]) == (0, 20.0)
    assert (note["missing"], note["distinct"], note["length_maximum"]) == (1, 2, 3.0)


def test_it_counts_the_classes_of_every_part_those_without_an_item_too() -> None:
    target = profile(Table(), parts(items([1, 2, 3, 4], kinds=[0, 0])))["target"]
    assert target["train"] == {"items": 2, "classes": {"none": 2, "some": 0, "many": 0}}
    assert target["test"]["classes"]["some"] == 1


@given(arrays("<f4", st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(width=32)))
def test_both_are_json_whatever_the_numbers(rows: Any) -> None:
    train = items(rows)
    told = json.dumps([profile(Table(), parts(train)), preview(train)], allow_nan=False)
    assert json.loads(told)


@given(arrays("<f4", st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)))
def test_deciles_rise_from_the_least_to_the_greatest(rows: Any) -> None:
    for column in profile(Table(), parts(items(rows)))["columns"][:2]:
        assert column["deciles"] == sorted(column["deciles"])
        assert (column["deciles"][0], column["deciles"][-1]) == (column["minimum"], column["maximum"])
        assert column["minimum"] - 1e-3 <= column["mean"] <= column["maximum"] + 1e-3


@pytest.mark.parametrize("count", [1, 3, 5, 1000])
def test_a_preview_has_few_items_from_all_over(count: int) -> None:
    rows = np.arange(2 * count)
    shown = preview(items(rows))
    assert len(shown) == min(count, SHOWN_ITEMS)
    assert (shown[0]["row"], shown[-1]["row"]) == ([0.0, 1.0], [2.0 * count - 2, 2.0 * count - 1])


def test_a_large_array_is_told_by_its_shape_and_a_long_text_is_cut() -> None:
    (shown,) = preview({"image": np.zeros((1, 3, 64, 64)), "text": np.array([b"a" * 4000]), "kind": np.array([1])})
    assert shown == {"image": {"shape": [3, 64, 64]}, "text": "a" * 500, "kind": 1}


def test_of_very_many_columns_the_first_are_looked_at() -> None:
    class Wide(Table):
        schema = Schema(
            features=(Feature(name="row", datatype="FP32", shape=(900,), columns=tuple(map(str, range(900)))),),
            target=Feature(name="kind", datatype="INT64"),
        )

    wide = {part: {"row": np.zeros((3, 900)), "kind": np.array([0, 1, 2])} for part in Part}
    assert len(profile(Wide(), wide)["columns"]) == MOST_COLUMNS
