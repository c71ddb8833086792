"""What people send, as tensors, and what models give, as labels and scores: every value is taken or refused by name."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.predict import labelled, reading, values
from services.gateway.predict.facts import Facts, facts_of
from services.gateway.predict.values import Item
from shared.errors import InvalidInput, TooLarge
from shared.events.common import Signature, TensorSpec
from shared.rpc.registry import VersionView
from shared.signatures import MAX_BATCH
from shared.tensors import DTYPES, Tensor, from_numpy, to_numpy

COLUMNS = ("age", "mean radius", "debt")
TABLE = TensorSpec(name="facts", datatype="FP32", shape=(-1, 3))
TEXT = TensorSpec(name="text", datatype="BYTES", shape=(-1,))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROW = st.tuples(*[st.none() | FINITE] * 3)
ROWS = st.lists(ROW, min_size=1, max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*COLUMNS, "facts", "x"]), inner),
    max_leaves=6,
)


def facts(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), **given: Any) -> Facts:
    feature = {"name": "facts", "columns": list(COLUMNS), "minimum": 0}
    view = VersionView(model="m", version=1, digest="d", signature=Signature(inputs=inputs, outputs=outputs), **given)
    return facts_of(view, {"schema": {"features": [feature]}})


CREDIT = facts(TABLE)
BOTH = facts(TABLE, TEXT)
SHAPES: list[tuple[str, tuple[int, ...]]] = [
    *((name, (-1, 2)) for name in (*DTYPES, "BYTES")),
    ("FP32", (-1,)),
    ("FP32", (-1, 2, 3)),
    ("INT64", (-1, -1)),
    ("FP32", (3,)),
]


def expected(rows: list[tuple[float | None, ...]]) -> np.ndarray[Any, Any]:
    return np.array([[np.nan if value is None else value for value in row] for row in rows], np.float32)


def labels_of(*given: Any) -> list[Item]:
    return [Item(f"items[{number}]", value) for number, value in enumerate(given)]


@given(ROWS)
def test_rows_by_name_as_lists_and_as_a_table_are_the_same_tensor(rows: list[tuple[float | None, ...]]) -> None:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["surplus", *reversed(COLUMNS)])
    writer.writerows([["x", *reversed(["" if value is None else value for value in row])] for row in rows])
    named = json.dumps({"items": [dict(zip(COLUMNS, row, strict=True)) for row in rows]})
    whole = json.dumps({"items": [{"facts": row} for row in rows]})
    bare = json.dumps({"items": rows})
    sent = [reading.of_json(text.encode()) for text in (named, whole, bare)]
    for items in [*sent, reading.of_csv(table.getvalue().encode())]:
        (tensor,) = values.tensors(items, CREDIT)
        assert (tensor.name, tensor.datatype, tensor.shape) == ("facts", "FP32", (len(rows), 3))
        np.testing.assert_array_equal(to_numpy(tensor), expected(rows))


@given(ROWS, st.data())
def test_what_is_missing_or_unknown_is_named(rows: list[tuple[float | None, ...]], data: st.DataObject) -> None:
    items = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    number = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(COLUMNS))
    del items[number][column]
    with pytest.raises(InvalidInput, match=f'"{column}" is missing') as refused:
        values.tensors(labels_of(*items), CREDIT)
    assert refused.value.field == f"items[{number}].{column}"
    items[number] |= {column: 1.0, "agee": 2.0}
    with pytest.raises(InvalidInput, match='"agee" is unknown.*"age", "mean radius", "debt"') as refused:
        values.tensors(labels_of(*items), CREDIT)
    assert refused.value.field == f"items[{number}].agee"


def test_a_number_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match='"debt" is given already') as refused:
        values.tensors(labels_of({"facts": [1, 2, 3], "debt": 1}), CREDIT)
    assert refused.value.field == "items[0].debt"


@pytest.mark.parametrize("body", [b'{"items": [], "": 1}', b"[]", b'{"items": {}}', b"null", b"\xff", b"[" * 9999])
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        reading.of_json(body)
    assert refused.value.field


@given(st.lists(JSON, min_size=1, max_size=3), st.sampled_from([CREDIT, BOTH, facts(TEXT)]))
def test_anything_is_taken_as_a_whole_or_refused_with_its_field(items: list[Any], wanted: Facts) -> None:
    try:
        found = values.tensors(labels_of(*items), wanted)
    except InvalidInput as error:
        assert error.field and error.field.startswith("items") and error.field in error.message.replace(': "', ".")
    else:
        assert [tensor.shape[0] for tensor in found] == [len(items)] * len(wanted.inputs)


@given(JSON, st.sampled_from(SHAPES))
def test_any_value_is_a_tensor_of_the_signature_or_refused(value: Any, wanted: tuple[str, tuple[int, ...]]) -> None:
    datatype, shape = wanted
    try:
        (tensor,) = values.tensors(labels_of(value), facts(TensorSpec(name="x", datatype=datatype, shape=shape)))
    except InvalidInput as error:
        assert error.field
        return
    assert tensor.datatype == datatype and len(tensor.shape) == len(shape)
    assert to_numpy(tensor).shape == tensor.shape


@pytest.mark.parametrize(
    ("datatype", "value", "words"),
    [
        ("FP32", 1e39, "beyond"),
        ("FP16", 70000, "beyond"),
        ("FP32", True, "number"),
        ("FP32", "1", "number"),
        ("INT8", 128, "-128 to 127"),
        ("UINT64", -1, "0 to 18446744073709551615"),
        ("INT64", None, "whole number, not null"),
        ("INT64", 1.5, "whole number"),
        ("BOOL", 1, "true or false"),
        ("BYTES", 5, "text, not 5"),
        ("BYTES", "\ud800", "Unicode"),
    ],
)
def test_values_that_do_not_fit_say_why(datatype: str, value: Any, words: str) -> None:
    wanted = facts(TensorSpec(name="x", datatype=datatype, shape=(-1, 1)))
    with pytest.raises(InvalidInput, match=words) as refused:
        values.tensors(labels_of({"x": value}), wanted)
    assert refused.value.field == "items[0].x"


def test_cells_are_numbers_where_numbers_are_wanted() -> None:
    wanted = facts(*(TensorSpec(name=name, datatype=name, shape=(-1,)) for name in ("FP32", "INT64", "BOOL", "BYTES")))
    found = values.tensors(reading.of_csv(b"FP32,INT64,BOOL,BYTES\n 1e2,7,TRUE,1\nNaN,3.0,0,\n"), wanted)
    assert [to_numpy(tensor).tolist() for tensor in found[1:]] == [[7, 3], [True, False], [b"1", b""]]
    np.testing.assert_array_equal(to_numpy(found[0]), [100, np.nan])
    with pytest.raises(InvalidInput, match="must be a number, or null where it is missing, not '1_0'") as refused:
        values.tensors(reading.of_csv(b"FP32,INT64,BOOL,BYTES\n\n1_0,7,1,x\n"), wanted)
    assert refused.value.field == "line 3.FP32"


def test_numbers_without_names_in_the_data_are_numbered() -> None:
    wanted = facts(TensorSpec(name="x", datatype="FP32", shape=(-1, 2, 2)))
    (named,) = values.tensors(reading.of_csv(b"x.0,x.1,x.2,x.3\n1,2,3,4\n"), wanted)
    flat, nested = (values.tensors(labels_of(each), wanted)[0] for each in ([1, 2, 3, 4], {"x": [[1, 2], [3, 4]]}))
    assert named == flat == nested


def test_a_model_takes_so_many_items_at_once() -> None:
    for count, wanted in ((0, CREDIT), (MAX_BATCH + 1, CREDIT), (2, facts(TensorSpec(datatype="FP32", shape=(3,))))):
        with pytest.raises(InvalidInput, match=f"there are {count}") as refused:
            values.tensors(labels_of(*[[1, 2, 3]] * count), wanted)
        assert refused.value.field == "items"
    with pytest.raises(InvalidInput, match="more than 1000"):
        reading.of_json(json.dumps({"items": [0] * 1001}).encode())


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from(list(reading.READERS)))
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    try:
        items = reading.items(kind, body)
    except InvalidInput as error:
        assert error.field and len(error.message) > 10
    else:
        assert all(item.label for item in items)


def test_types_that_are_not_read_say_which_are() -> None:
    for kind in ("application/xml", "multipart/form-data", ""):
        with pytest.raises(reading.UnsupportedContent, match="text/csv"):
            reading.items(reading.media_type(kind), b"")
    with pytest.raises(reading.UnsupportedContent, match="UTF-8"):
        reading.media_type("text/csv; charset=latin-1")
    assert reading.media_type('Text/CSV; charset="UTF-8"') == reading.CSV


def output(name: str, array: Any, dtype: Any = np.float32) -> Tensor:
    return from_numpy(name, np.asarray(array, dtype))


LABELLED = facts(TABLE, outputs=(TABLE,), task_type="classification", labels=["a", "b", "c"])
SCORES = st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=1, max_size=4)


@given(SCORES, st.none() | st.integers(1, 5))
def test_the_label_is_that_of_the_greatest_score(rows: list[tuple[float, ...]], top: int | None) -> None:
    found = labelled.predictions((output("p", rows),), LABELLED, top)
    json.dumps(found, allow_nan=False)
    for row, answer in zip(np.array(rows, np.float32), found, strict=True):
        best = int(np.argmax(np.where(np.isnan(row), -np.inf, row)))
        assert answer["label"] == "abc"[best] == next(iter(answer["scores"]))
        assert len(answer["scores"]) == min(3, top or 3)
        if np.isfinite(row[best]):
            assert np.float32(answer["score"]) == row[best]


def test_other_outputs_are_given_by_name() -> None:
    more = from_numpy("words", np.array([b"x", b"\xff"], object))
    (first, second) = labelled.predictions((more, output("p", [[0.1, 0.7, 0.2]] * 2)), LABELLED)
    assert first["label"] == "b" and first["score"] == 0.7
    assert (first["outputs"], second["outputs"]) == ({"words": "x"}, {"words": "\ufffd"})
    with pytest.raises(TooLarge, match="/v2"):
        labelled.predictions((output("image", np.zeros((1, 1_000_001))),), LABELLED)
    (large,) = labelled.predictions((output("image", [[np.nan, *[0.5] * 5000]]),), LABELLED)
    assert large["outputs"]["image"][:2] == [None, 0.5]


@pytest.mark.parametrize("rows", [[[3.5], [np.inf]], [3.5, np.inf]])
def test_a_regression_gives_values(rows: Any) -> None:
    found = labelled.predictions((output("y", rows),), facts(TABLE, outputs=(TABLE,), task_type="regression"))
    assert found == [{"value": 3.5}, {"value": None}]


def test_of_several_values_the_first_of_the_signature_is_the_value() -> None:
    both = tuple(TensorSpec(name=name, datatype="FP32", shape=(-1, 1)) for name in ("variance", "a-volatility"))
    told = facts(TABLE, outputs=both, task_type="regression")
    answers = (output("a-volatility", [[2.0]]), output("variance", [[4.0]]))
    wanted = [{"value": 4.0, "outputs": {"a-volatility": [2.0]}}]
    assert labelled.predictions(answers, told) == labelled.predictions(answers[::-1], told) == wanted


def test_a_ranking_gives_the_best() -> None:
    ranking = facts(TABLE, outputs=(TABLE,), task_type="ranking", labels=["tea", "milk", "salt"])
    scores = output("scores", [[0.1, 0.9, 0.5]])
    assert labelled.predictions((scores,), ranking, 2) == [
        {"items": [{"item": 1, "label": "milk", "score": 0.9}, {"item": 2, "label": "salt", "score": 0.5}]}
    ]
    items = output("items", [[2, 7, 0]], np.int64)
    (answer,) = labelled.predictions((items, scores), ranking)
    assert answer["items"][:2] == [{"item": 2, "label": "salt", "score": 0.1}, {"item": 7, "score": 0.9}]
    names = from_numpy("names", np.array([[b"salt", b"rice", b"tea"]], object))
    (answer,) = labelled.predictions((items, scores, names), ranking, 2)
    assert answer == {"items": [{"item": 2, "label": "salt", "score": 0.1}, {"item": 7, "label": "rice", "score": 0.9}]}
    few = output("items", [[2, -1, -1]], np.int64)
    (answer,) = labelled.predictions((few, scores, names), ranking)
    assert answer == {"items": [{"item": 2, "label": "salt", "score": 0.1}]}


def test_labels_of_words_are_shown_as_names_with_their_places() -> None:
    tagging = facts(TABLE, outputs=(TABLE,), task_type="tagging", labels=["O", "B-person", "I-person"])
    words = from_numpy("words", np.array([["Zoë".encode(), b"  Ash", b" met", b" Al"], [b"No", b"", b"", b""]], object))
    tags = output("tags", [[1, 2, 0, 1], [0, 0, 0, 0]], np.int64)
    zoe = {"text": "Zoë  Ash", "label": "person", "start": 0, "end": 8}
    both = [zoe, {"text": "Al", "label": "person", "start": 13, "end": 15}]
    assert labelled.predictions((tags, words), tagging) == [{"entities": both}, {"entities": []}]
    (unknown, _) = labelled.predictions((output("tags", [[3, 0, 0, 0]] * 2, np.int64), words), tagging)
    assert unknown["outputs"]["tags"] == [3, 0, 0, 0]


def test_a_version_of_which_little_is_known_answers_by_name() -> None:
    bare = facts(TABLE, outputs=(TABLE,))
    assert labelled.predictions((output("y", [[1, 2]]),), bare) == [{"outputs": {"y": [1, 2]}}]
    once = facts(TensorSpec(name="x", datatype="FP32", shape=(3,)), outputs=(TABLE,))
    assert labelled.predictions((output("y", [1, 2]),), once) == [{"outputs": {"y": [1, 2]}}]


@pytest.mark.parametrize("table", [b'a,b\n1,"2', b"a,a\n", b"a,b\n1\n", b"\n1\n", b"", b"a\n\xff\n"])
def test_broken_tables_are_refused_with_their_line(table: bytes) -> None:
    with pytest.raises(InvalidInput, match="line|UTF-8") as refused:
        reading.of_csv(table)
    assert refused.value.field
