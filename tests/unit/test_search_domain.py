"""Two orders become one by the places that things have in them; which models make vectors of texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.search.domain import (
    MOST_DIMENSIONS,
    Document,
    documents,
    embedding,
    fused,
    literals,
    place_of,
    words,
)
from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.tables.values import Unfit
from shared.tensors import Tensor, from_numpy

ORDERS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), max_size=3)
TEXT = TensorSpec(name="text", datatype="BYTES", shape=(-1,))


def vectors(*shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name="vectors", datatype=datatype, shape=shape)


@given(ORDERS, st.integers(1, 40))
def test_what_any_order_has_is_found_once_and_in_order_of_its_score(orders: list[list[int]], limit: int) -> None:
    found = fused(orders, limit)
    numbers, scores = [number for number, _ in found], [score for _, score in found]
    assert len(set(numbers)) == len(numbers) == min(limit, len({each for order in orders for each in order}))
    assert scores == sorted(scores, reverse=True)


@given(st.lists(st.integers(), unique=True, max_size=20))
def test_one_order_alone_stays_as_it_is(order: list[int]) -> None:
    assert [number for number, _ in fused([order], len(order) + 1)] == order
    assert [place_of(number, order) for number in order] == list(range(1, len(order) + 1))
    assert place_of(max(order, default=0) + 1, order) is None


@given(ORDERS.filter(lambda orders: len(orders) > 1))
def test_what_is_first_everywhere_is_first(orders: list[list[int]]) -> None:
    first = [[-1, *order] for order in orders]
    assert fused(first, 1)[0][0] == -1


def test_a_model_that_makes_vectors_of_texts() -> None:
    signature = Signature(inputs=(TEXT,), outputs=(vectors(-1, 2, 2), vectors(-1, 384)))
    assert embedding(signature) == ("text", "vectors", 384)


@pytest.mark.parametrize(
    "signature",
    [
        Signature(inputs=(TEXT,), outputs=(vectors(-1, -1),)),
        Signature(inputs=(TEXT,), outputs=(vectors(-1, MOST_DIMENSIONS + 1),)),
        Signature(inputs=(TEXT,), outputs=(vectors(-1, 3, datatype="FP64"),)),
        Signature(inputs=(vectors(-1, 4),), outputs=(vectors(-1, 4),)),
        Signature(inputs=(TEXT, TEXT), outputs=(vectors(-1, 4),)),
    ],
)
def test_another_model_is_refused(signature: Signature) -> None:
    with pytest.raises(InvalidInput, match="takes one text a row"):
        embedding(signature)


def test_vectors_and_texts_as_the_database_takes_them() -> None:
    found = from_numpy("vectors", np.array([[0.5, -1], [1e-8, 3]], "<f4"))
    assert literals([from_numpy("other", np.zeros(1)), found], "vectors") == [
        "[0.5,-1.0]",
        "[9.99999993922529e-09,3.0]",
    ]
    assert words(from_numpy("text", np.array([b"a\0b", b"\xff"], object), "BYTES")) == ["a b", "�"]


def columns(**cells: str) -> list[Tensor]:
    return [from_numpy(name, np.array([cell.encode()], object), "BYTES") for name, cell in cells.items()]


def test_rows_become_documents_whatever_the_order_of_their_columns() -> None:
    assert documents(0, columns(text="a dog", id="1")) == [Document("1", "a dog", "{}")]
    given = columns(id="1", text="", attributes='{"a": 1, "b": "\\u0000", "c": 2.5, "d": true, "e": null}')
    assert documents(0, given)[0].attributes == '{"a": 1, "b": "\\u0000", "c": 2.5, "d": true, "e": null}'
    assert documents(0, columns(id="1", text="", attributes=""))[0].attributes == "{}"


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("id", " ", "is empty"),
        ("id", "x" * 257, "has 257 characters, the most is 256"),
        ("text", "x" * 32_769, "the most is 32768"),
        ("attributes", '{"a": "' + "x" * 4096 + '"}', "the most is 4096"),
        ("attributes", "no JSON", "is not an object of texts"),
        ("attributes", "[1]", "is not an object of texts"),
        ("attributes", '{"a": [1]}', "is not an object of texts"),
        ("attributes", '{"a": NaN}', "is not an object of texts"),
        ("attributes", '{"a": 1e999}', "is not an object of texts"),
        ("attributes", r'{"a": "\ud800"}', "is not an object of texts"),
        ("attributes", "[" * 4000, "is not an object of texts"),
    ],
)
def test_a_row_that_is_no_document_is_named(column: str, cell: str, reason: str) -> None:
    cells = {"id": "1", "text": "a dog"} | {column: cell}
    with pytest.raises(Unfit, match=f"row 8, column '{column}': .*{reason}"):
        documents(7, columns(**cells))
