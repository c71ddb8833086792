"""Files that people bring become the parts of a data set, or are refused in words that say where."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from library.base import DataSet, Feature, Part, Schema, Split
from library.sources.rows import MOST_TEXT, read_parts
from shared.tables.values import Unfit


class Patients(DataSet):
    """Two measures, of which one may be missing, a note and one of three labels."""

    name = "patients"
    source = licence = "of this test"
    labels = ("well", "ill", "2b")
    schema = Schema(
        features=(
            Feature(name="measures", datatype="FP32", shape=(2,), columns=("age", "dose"), minimum=0, missing=True),
            Feature(name="note", datatype="BYTES"),
        ),
        target=Feature(name="state", datatype="INT64"),
    )

    def load(self) -> dict[str, Any]:
        raise AssertionError("what it is like is not read")


class Pictures(DataSet):
    """Two by two numbers, and what is to be told of them."""

    name = "pictures"
    source = licence = "of this test"
    schema = Schema(
        features=(Feature(name="image", datatype="UINT8", shape=(1, 2, 2)),),
        target=Feature(name="light", datatype="FP32"),
    )
    split = Split(stratified=False)

    def load(self) -> dict[str, Any]:
        raise AssertionError("what it is like is not read")


ROWS = [
    {
        "age": 1.5 + row,
        "dose": None if row == 3 else 2.0,
        "note": f"note {row}",
        "state": ("well", "ill", "2b")[row % 3],
    }
    for row in range(40)
]


def csv_of(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(rows[0])]
    return "\n".join(lines + [",".join("" if value is None else str(value) for value in row.values()) for row in rows])


def brought(tmp_path: Path, content: str | bytes, like: DataSet | None = None) -> dict[Part, dict[str, Any]]:
    path = tmp_path / "given"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_parts(path, None, like or Patients())


def all_of(parts: dict[Part, dict[str, Any]], column: str) -> list[Any]:
    found = [value for items in parts.values() for value in items[column].tolist()]
    return sorted(found, key=str)


def parquet_of(rows: list[dict[str, Any]], path: Path) -> bytes:
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path.read_bytes()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same(tmp_path: Path, form: str) -> None:
    files: dict[str, Any] = {
        "csv": lambda: csv_of(ROWS),
        "jsonl": lambda: "\n".join(map(json.dumps, ROWS)),
        "parquet": lambda: parquet_of(ROWS, tmp_path / "rows.parquet"),
    }
    parts = brought(tmp_path, files[form]())
    assert [*parts] == [*Part]
    assert [len(items["state"]) for items in parts.values()] == [28, 6, 6]
    assert {str(note) for note in all_of(parts, "note")} == {str(f"note {row}".encode()) for row in range(40)}
    measures = np.concatenate([items["measures"] for items in parts.values()])
    assert (measures.dtype, measures.shape) == (np.dtype("<f4"), (40, 2))
    assert np.isnan(measures).sum() == 1
    assert np.isnan(measures[measures[:, 0] == 4.5][0, 1])
    assert all_of(parts, "state") == [0] * 14 + [1] * 13 + [2] * 13


def test_arrays_come_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", image=np.arange(40, dtype="u1").reshape(10, 2, 2), light=np.arange(10.0))
    parts = brought(tmp_path, (tmp_path / "rows.npz").read_bytes(), Pictures())
    assert parts[Part.TRAIN]["image"].shape == (7, 1, 2, 2)
    assert all_of(parts, "light") == sorted(map(float, range(10)))


def test_a_column_may_name_the_part_of_each_row(tmp_path: Path) -> None:
    rows = [row | {"part": [*Part][number % 3]} for number, row in enumerate(ROWS)]
    parts = brought(tmp_path, csv_of(rows))
    assert [len(items["note"]) for items in parts.values()] == [14, 13, 13]
    assert parts[Part.VALIDATION]["note"][0] == b"note 1"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.sampled_from(["well", "ill", "2b", "0", "1", "2"]), min_size=30, max_size=60))
def test_labels_are_words_or_numbers(tmp_path: Path, states: list[str]) -> None:
    rows = [{"age": 1, "dose": 2, "note": "x", "state": state} for state in states]
    parts = brought(tmp_path, csv_of(rows))
    numbers = {"well": 0, "ill": 1, "2b": 2, "0": 0, "1": 1, "2": 2}
    assert all_of(parts, "state") == sorted(numbers[state] for state in states)


def changed(**cells: Any) -> str:
    return csv_of([row | (cells if number == 1 else {}) for number, row in enumerate(ROWS)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(age="old"), "line 3, column 'age': 'old' is none of numbers"),
        (changed(age=-1), "line 3, column 'age': -1.0 is outside of what the schema allows, 0 to inf"),
        (changed(age="inf"), "line 3, column 'age': inf is outside"),
        (changed(state="dead"), "line 3, column 'state': 'dead' is none of 'well', 'ill', '2b'"),
        (changed(state=3), "line 3, column 'state': '3' is none of"),
        (changed(note="y" * (MOST_TEXT + 1)), "line 3, column 'note': has more than"),
        (csv_of([{"age": 1, "note": "x", "state": 1}]), "the file has no column 'dose'; it has 'age', 'note', 'state'"),
        (csv_of([{"age": 1, "dose": 1, "state": 1}]), r"no column 'note' \(BYTES \[\] a row\)"),
        (csv_of(ROWS[:1]), "the part 'validation' has no rows"),
        (csv_of([row | {"part": "exam"} for row in ROWS]), "line 2, column 'part': 'exam' is none of 'train'"),
        ("age,dose,note,state", "the file has no rows"),
        (b"\x80\x04\x95", "a pickle, which is never read here"),
        (b"PK\x03\x04 and nothing of use", "no .npz file"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        brought(tmp_path, content)


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", image=np.zeros((10, 3, 3), "u1"), light=np.arange(10.0))
    with pytest.raises(Unfit, match=r"array 'image' holds \[3, 3\] a row, 'image' has \[1, 2, 2\]"):
        brought(tmp_path, (tmp_path / "rows.npz").read_bytes(), Pictures())


def test_what_may_not_be_missing_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", image=np.zeros((10, 2, 2), "u1"), light=np.full(10, np.nan))
    with pytest.raises(Unfit, match="row 1, array 'light': nan is outside"):
        brought(tmp_path, (tmp_path / "rows.npz").read_bytes(), Pictures())
