"""Files of a batch: what a table holds comes to the model whole, in order and once, and what does not fit is named."""

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyarrow import parquet

from services.inference.batch import part_files, writing
from services.inference.batch.reading import Limits, Reading, ReadingSpec
from services.inference.batch.writing import Broken, WritingSpec
from shared.events.common import Signature, TensorSpec
from shared.tables.values import Unfit
from shared.tensors import DTYPES, from_numpy, to_numpy
from shared.worker import Reporter

Array = NDArray[Any]
FORMATS = ("csv", "jsonl", "npz", "parquet")
IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reporter() -> Iterator[Reporter]:
    yield Reporter(os.open(os.devnull, os.O_WRONLY))


def spec(name: str, datatype: str, *row: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *row))


def table(format_: str, **columns: Array) -> bytes:
    """The columns as a file of this format, one value a cell."""
    out = io.BytesIO()
    if format_ == "npz":
        np.savez(out, **columns)  # type: ignore[arg-type]
    elif format_ == "parquet":
        parquet.write_table(arrow.table({name: arrow.array(list(column)) for name, column in columns.items()}), out)
    elif format_ == "jsonl":
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        out.write("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows).encode())
    else:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        out.write(text.getvalue().encode())
    return out.getvalue()


def read(
    reporter: Reporter, content: bytes, *inputs: TensorSpec, skip: int = 0, part_rows: int = 7, **limits: int
) -> dict[str, Array]:
    """What the parts hold together, checked to follow each other from the first row that is not skipped."""
    for old in part_files.waiting(Path()):
        old.unlink()
    Path("input").write_bytes(content)
    given = Limits(**({"memory": 2**31, "cpu_seconds": 60, "rows": 10**6, "bytes": 2**30} | limits))
    asked = ReadingSpec(
        file="input", format=None, signature=Signature(inputs=inputs), part_rows=part_rows, skip=skip, limits=given
    )
    total = Reading(asked, reporter).read().rows
    found = [part_files.read(path) for path in part_files.waiting(Path())]
    done = skip
    for part in found:
        assert part.start == done
        assert 0 < part.rows <= part_rows
        done += part.rows
    assert done == total
    return {
        tensor.name: np.concatenate([to_numpy(part.tensors[number]) for part in found])
        for number, tensor in enumerate(found[0].tensors)
    }


@IN_A_FOLDER
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    format_=st.sampled_from(FORMATS),
    part_rows=st.integers(1, 50),
    share=st.floats(0, 0.999),
)
def test_every_row_comes_once_in_order(
    reporter: Reporter, values: list[float], format_: str, part_rows: int, share: float
) -> None:
    column = np.array(values, "<f4")
    skip = int(share * len(values))
    content = table(format_, x=column)
    found = read(reporter, content, spec("x", "FP32"), skip=skip, part_rows=part_rows)
    np.testing.assert_array_equal(found["x"], column[skip:])


INTEGERS = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]


@IN_A_FOLDER
@given(data=st.data(), datatype=st.sampled_from(INTEGERS), format_=st.sampled_from(FORMATS))
def test_whole_numbers_come_exactly_or_are_refused(
    reporter: Reporter, data: st.DataObject, datatype: str, format_: str
) -> None:
    bounds = np.iinfo(DTYPES[datatype])
    values = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
    content = table(format_, x=np.array(values, "<i8"))
    bad = [row for row, value in enumerate(values) if not bounds.min <= value <= bounds.max]
    if not bad:
        assert read(reporter, content, spec("x", datatype))["x"].tolist() == values
        return
    place = f"line {bad[0] + 2}" if format_ == "csv" else f"line {bad[0] + 1}" if format_ == "jsonl" else "row"
    with pytest.raises(Unfit, match=rf"{place}.*'x': .*{datatype}"):
        read(reporter, content, spec("x", datatype))


@IN_A_FOLDER
@given(
    texts=st.lists(st.text(max_size=20), min_size=2, max_size=10), format_=st.sampled_from(("csv", "jsonl", "parquet"))
)
def test_text_comes_as_it_is(reporter: Reporter, texts: list[str], format_: str) -> None:
    legible = [text.encode(errors="replace").decode().replace("\0", " ").replace("\r", " ") + "." for text in texts]
    content = table(format_, x=np.array(legible, object), other=np.arange(len(texts)))
    found = read(reporter, content, spec("x", "BYTES"))["x"]
    assert [element.decode() for element in found] == legible


def four(count: int) -> dict[str, Array]:
    return {f"f{column}": np.arange(count, dtype="<f4") + column / 4 for column in range(4)}


@pytest.mark.parametrize("format_", ("csv", "jsonl", "parquet"))
def test_an_only_input_takes_all_columns_of_numbers_in_order(reporter: Reporter, format_: str) -> None:
    names = np.array([f"row {number}" for number in range(9)], object)
    content = table(format_, name=names, **four(9))
    found = read(reporter, content, spec("x", "FP32", 2, 2))["x"]
    np.testing.assert_array_equal(found.reshape(9, 4), np.stack(list(four(9).values()), axis=1))


@pytest.mark.parametrize("format_", ("csv", "jsonl", "parquet"))
def test_columns_by_number_feed_an_input_whatever_their_order(reporter: Reporter, format_: str) -> None:
    columns = {f"x.{number}": np.full(3, number, "<i8") for number in (2, 0, 3, 1)}
    found = read(reporter, table(format_, y=np.arange(3), **columns), spec("x", "FP32", 4), spec("y", "INT32"))
    np.testing.assert_array_equal(found["x"], [[0, 1, 2, 3]] * 3)
    np.testing.assert_array_equal(found["y"], np.arange(3))


def test_lists_in_cells_become_axes(reporter: Reporter) -> None:
    nested = np.arange(24).reshape(3, 2, 4)
    lines = "".join(json.dumps({"x": row.tolist()}) + "\n" for row in nested).encode()
    out = io.BytesIO()
    parquet.write_table(arrow.table({"x": nested.tolist()}), out)
    flat = "".join(json.dumps({"x": row.ravel().tolist()}) + "\n" for row in nested).encode()
    for content in (lines, out.getvalue(), flat):
        np.testing.assert_array_equal(read(reporter, content, spec("x", "FP32", 2, 4))["x"], nested)


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.array([{"a": 1}], object))
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def npy(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def nulls() -> bytes:
    out = io.BytesIO()
    parquet.write_table(arrow.table({"x": [1.0, None, 2.0]}), out)
    return out.getvalue()


def ragged() -> bytes:
    out = io.BytesIO()
    parquet.write_table(arrow.table({"x": [[1.0], [1.0, 2.0]]}), out)
    return out.getvalue()


X, X2 = spec("x", "FP32"), spec("x", "FP32", 2)
UNFIT: dict[str, tuple[bytes, tuple[TensorSpec, ...], str]] = {
    "a cell that is no number": (b"x\n1\nred\n", (X,), "line 3, column 'x': 'red' is none of numbers"),
    "an empty cell": (b"x,y\n1,2\n,3\n", (X,), "line 3, column 'x': is empty"),
    "a number of Python": (b"x\n1\n1_0\n", (X,), "line 3, column 'x'"),
    "a number beyond the type": (b"x\n1e300\n", (X,), "line 2, column 'x': 1e\\+300 does not fit FP32"),
    "a broken number": (b"x\n1.5\n", (spec("x", "INT32"),), "line 2, column 'x': '1.5' is none of whole numbers"),
    "a missing column": (b"a,b\n1,2\n", (X, spec("b", "FP32")), "no column 'x'.*name a column 'x'.*it has 'a', 'b'"),
    "too few columns": (b"a,b,c\n1,2,3\n", (X2,), "3 columns of numbers.*only input takes 2"),
    "a hole in numbered columns": (b"x.0,x.2\n1,2\n", (X2,), "no column 'x.1'"),
    "a numbered column too many": (b"x.0,x.1,x.2\n1,2,3\n", (X2,), "'x.2' is one too many"),
    "a short line": (b"x,y\n1,2\n1\n", (X,), "line 3 has 1 values, line 1 names 2"),
    "a long line after one of two": (b'x,y\n1,"a\nb"\n1,2,3\n', (X,), "line 4 has 3 values"),
    "a blank line": (b"x\n1\n\n2\n", (X,), "line 3 is blank"),
    "an open quote": (b'x\n1\n"2\n', (X,), "line 3"),
    "two columns of one name": (b"x,x\n1,2\n", (X,), "line 1: two columns have the name 'x'"),
    "no rows": (b"x\n", (X,), "no rows"),
    "nothing but blanks": (b"\n\n", (X,), "line 1: there must be the columns' names"),
    "latin-1": ("x,y\n1,a\n2,ä\n".encode("latin-1"), (X,), "line 3: this is no text in UTF-8"),
    "broken JSON": (b'{"x": 1}\n{"x": \n', (X,), "line 2: this is no JSON"),
    "NaN in JSON": (b'{"x": NaN}\n', (X,), "line 1: this is no JSON: JSON has no NaN"),
    "an array of JSON": (b"[1]\n", (X,), "line 1: there must be an object.*not list"),
    "a member that is missing": (b'{"x": 1}\n{"y": 1}\n', (X,), "line 2 has no 'x'"),
    "a word in JSON": (b'{"x": 1}\n{"x": "a"}\n', (X,), "line 2, column 'x': .*must hold numbers"),
    "null in JSON": (b'{"x": 1}\n{"x": null}\n', (X,), "line 2, column 'x'"),
    "ragged JSON": (b'{"x": [1, 2]}\n{"x": [1]}\n', (X2,), "line 2, column 'x': has the shape \\[1\\]"),
    "too deep": (b'{"x": ' + b"[" * 100_000 + b"}\n", (X,), "line 1: "),
    "a list of another size": (b'{"x": [1, 2, 3]}\n', (X2,), "column 'x' holds \\[3\\] a row.*takes \\[2\\]"),
    "null in Parquet": (nulls(), (X,), "row 2, column 'x': is empty"),
    "ragged Parquet": (ragged(), (X2,), "row 2, column 'x': holds 2 values"),
    "no Parquet": (b"PAR1 and what not", (X,), "no Parquet file"),
    "a pickle in npz": (pickled(), (X,), "array 'x' holds Python objects, which are never read"),
    "a pickle": (b"\x80\x04K\x01.", (X,), "this is a pickle"),
    "npy": (npy(np.zeros(3)), (X,), "one array of NumPy"),
    "gzip": (b"\x1f\x8b\x08\x00", (X,), "packed with gzip"),
    "zeros": (bytes(1000), (X,), "no file of rows"),
    "an array that is missing": (table("npz", a=np.zeros(3), b=np.zeros(3)), (X,), "no array 'x'.*it has 'a', 'b'"),
    "arrays of unlike lengths": (
        table("npz", x=np.zeros(3), y=np.zeros(4)),
        (X, spec("y", "FP32")),
        "array 'y' has 4 rows, 'x' has 3",
    ),
    "an array of text": (table("npz", x=np.array(["a"])), (X,), "row 1, array 'x': holds text"),
    "an array of another shape": (table("npz", x=np.zeros((3, 5))), (X2,), "holds \\[5\\] a row.*takes \\[2\\]"),
    "a single value": (table("npz", x=np.float32(1)), (X,), "single value"),
    "no rows in an array": (table("npz", x=np.zeros((0, 2))), (X2,), "no rows"),
    "an array that ends early": (zipped(x=npy(np.zeros(9))[:-8]), (X,), "array 'x' cannot be read: it ends early"),
    "no array": (zipped(x=b"hello"), (X,), "array 'x' cannot be read"),
    "a bomb": (zipped(x=npy(np.zeros(1)).replace(b"(1,)", b"(999999999999,)")), (X,), "array 'x' cannot be read"),
    "columns first": (table("npz", x=np.asfortranarray(np.ones((3, 2)))), (X2,), "np.ascontiguousarray"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_named(reporter: Reporter, case: str) -> None:
    content, inputs, message = UNFIT[case]
    with pytest.raises(Unfit, match=message):
        read(reporter, content, *inputs)


def test_a_row_far_in_is_named(reporter: Reporter) -> None:
    content = b"x,y\n" + b"1,2\n" * 20 + b"1,?\n"
    with pytest.raises(Unfit, match="line 22, column 'y'"):
        read(reporter, content, spec("y", "FP32"))
    out = io.BytesIO()
    parquet.write_table(arrow.table({"x": [1] * 20 + [300]}), out)
    with pytest.raises(Unfit, match="row 21, column 'x': 300 does not fit UINT8"):
        read(reporter, out.getvalue(), spec("x", "UINT8"))


@settings(IN_A_FOLDER, max_examples=300)
@given(data=st.data(), format_=st.sampled_from(FORMATS), junk=st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_read_or_refused(reporter: Reporter, data: st.DataObject, format_: str, junk: bytes) -> None:
    content = table(format_, x=np.arange(50, dtype="<f4"), word=np.array(["w"] * 50))
    place = data.draw(st.integers(0, len(content) - 1))
    cut = data.draw(st.integers(0, len(junk)))
    with suppress(Unfit):
        read(reporter, content[:place] + junk + content[place + cut :], X)


@settings(IN_A_FOLDER, max_examples=100)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", b"PK\x03\x04", b"PAR1", b"{", b"x,y\n"]))
def test_anything_is_read_or_refused(reporter: Reporter, content: bytes, start: bytes) -> None:
    with suppress(Unfit):
        read(reporter, start + content, X)


def test_too_much_is_refused(reporter: Reporter) -> None:
    content = table("npz", x=np.zeros(1000))
    with pytest.raises(Unfit, match="more than 100 rows"):
        read(reporter, content, X, rows=100)
    with pytest.raises(Unfit, match="as tensors"):
        read(reporter, content, X, bytes=1000)


def test_a_blank_end_and_a_mark_of_order_are_no_rows(reporter: Reporter) -> None:
    assert read(reporter, b"\xef\xbb\xbfx\r\n1\r\n\r\n\r\n", X)["x"].tolist() == [1]
    assert read(reporter, b'\xef\xbb\xbf{"x": 1}\n\n', X)["x"].tolist() == [1]


def answer(cut: list[int], **outputs: tuple[str, Array]) -> list[str]:
    """Answered parts of these sizes."""
    names, start = [], 0
    for rows in cut:
        taken = slice(start, start + rows)
        tensors = tuple(from_numpy(name, array[taken], kind) for name, (kind, array) in outputs.items())
        names.append(part_files.answered_name(start + rows))
        part_files.write(Path(names[-1]), part_files.Part(start, rows, tensors, "batch-1"))
        start += rows
    return names


def write(format_: str, files: list[str], rows: int, reporter: Reporter) -> Path:
    made = writing.main(WritingSpec(files=files, format=format_, rows=rows).model_dump(), reporter)  # type: ignore[arg-type]
    return Path(made.files["result"])


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("cut", [[10], [3, 7], [1] * 10])
def test_a_result_has_every_row_once(reporter: Reporter, format_: str, cut: list[int]) -> None:
    generator = np.random.default_rng(3)
    scores, label = generator.normal(size=(10, 2, 3)).astype("<f4"), np.arange(10, dtype="<i8")[:, None]
    words = np.array([f"wört {number}" * number for number in range(10)], object)
    files = answer(cut, scores=("FP32", scores), label=("INT64", label), word=("BYTES", words))
    path = write(format_, files, 10, reporter)
    found = as_arrays(format_, path)
    np.testing.assert_array_equal(found["scores"].astype("<f4").reshape(scores.shape), scores)
    np.testing.assert_array_equal(found["label"].astype("<i8").ravel(), label.ravel())
    assert [word if isinstance(word, str) else word.decode() for word in found["word"].ravel()] == words.tolist()


def as_arrays(format_: str, path: Path) -> dict[str, Array]:
    if format_ == "npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    if format_ == "parquet":
        return {name: np.array(column) for name, column in parquet.read_table(path).to_pydict().items()}
    if format_ == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    scores = np.stack([columns.pop(f"scores.{number}") for number in range(6)], axis=1)
    return columns | {"scores": scores}


def test_parts_that_miss_or_double_a_row_make_no_result(reporter: Reporter) -> None:
    files = answer([4, 3, 3], y=("FP32", np.zeros(10, "<f4")))
    for wrong in (files[1:], files[:-1], [files[0], files[0], files[1], files[2]], [files[0], files[2]]):
        with pytest.raises(Broken):
            write("npz", wrong, 10, reporter)


def test_what_is_no_number_is_null_in_json(reporter: Reporter) -> None:
    files = answer([3], y=("FP32", np.array([1, np.nan, np.inf], "<f4")))
    assert write("jsonl", files, 3, reporter).read_text().split() == [
        '{"y":', "1.0}", '{"y":', "null}", '{"y":', "null}"
    ]  # fmt: skip
