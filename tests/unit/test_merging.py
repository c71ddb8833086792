"""Requests that share a call: each gets the rows that a call of its own would have brought, whatever shares it."""

from collections import deque
from itertools import count
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference import merging
from shared.events.common import Signature, TensorSpec
from shared.oip import InferReply, InferRequest, RequestedOutput
from shared.tensors import DTYPES, Tensor, from_numpy, to_numpy

COLUMNS = st.lists(
    st.tuples(st.sampled_from([*DTYPES, "BYTES"]), st.lists(st.integers(0, 3), max_size=2)), min_size=1, max_size=3
)
ROWS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def array(datatype: str, shape: tuple[int, ...], seed: int) -> Any:
    numbers = np.random.default_rng(seed).integers(0, 2 if datatype == "BOOL" else 100, shape)
    if datatype == "BYTES":
        texts = [b"x" * int(number % 7) for number in numbers.ravel()]
        found = np.empty(len(texts), object)
        found[:] = texts
        return found.reshape(shape)
    return numbers.astype(DTYPES[datatype])


def requests(columns: list[tuple[str, list[int]]], rows: list[int]) -> list[InferRequest]:
    return [
        InferRequest(
            tuple(
                from_numpy(f"t{place}", array(datatype, (count, *shape), number * 10 + place), datatype)
                for place, (datatype, shape) in enumerate(columns)
            )
        )
        for number, count in enumerate(rows)
    ]


def as_lists(tensors: tuple[Tensor, ...]) -> list[tuple[str, str, tuple[int, ...], Any]]:
    return [(tensor.name, tensor.datatype, tensor.shape, to_numpy(tensor).tolist()) for tensor in tensors]


@given(COLUMNS, ROWS)
def test_joined_and_split_again_each_has_its_own_rows(columns: list[tuple[str, list[int]]], rows: list[int]) -> None:
    asked = requests(columns, rows)
    joined = merging.join(asked)
    assert {tensor.shape[0] for tensor in joined.inputs} == {sum(rows)}
    answers = merging.split(InferReply("model", "1", joined.inputs), rows)
    assert [as_lists(answer) for answer in answers] == [as_lists(request.inputs) for request in asked]


KINDS = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.integers(1, 8), st.integers(0, 3)), min_size=1, max_size=30
)
Item = tuple[str | None, range, int]


def kind(item: Item) -> merging.Kind:
    key, requests, rows = item
    return merging.Kind(key and (key,), len(requests), len(requests) * rows)


def cut(item: Item, count: int) -> tuple[Item, Item]:
    key, requests, rows = item
    assert 0 < count < len(requests)
    return (key, requests[:count], rows), (key, requests[count:], rows)


@given(KINDS, st.integers(1, 12))
def test_a_queue_is_emptied_in_order_and_never_beyond_the_largest_batch(
    kinds: list[tuple[str | None, int, int]], max_rows: int
) -> None:
    """An item is one request, or some that are alike; those without a key are always one."""
    numbers = count()
    items = [(key, [next(numbers) for _ in range(many if key else 1)], rows) for key, many, rows in kinds]
    queue: deque[Item] = deque((key, range(found[0], found[-1] + 1), rows) for key, found, rows in items)
    expected = {number: key for key, found, _ in items for number in found}
    taken: list[int] = []
    while queue:
        first = queue[0]
        batch = merging.take(queue, kind, cut, max_rows)
        inside = [number for _, requests, _ in batch for number in requests]
        assert inside[0] == first[1][0]
        assert len(inside) == 1 or sum(kind(item).rows for item in batch) <= max_rows
        assert len(inside) == 1 or ({key for key, _, _ in batch} == {first[0]} and first[0] is not None)
        taken += inside
    assert sorted(taken) == sorted(expected)
    for name in ("a", "b"):
        of_one = [number for number in taken if expected[number] == name]
        assert of_one == sorted(of_one)


@given(
    COLUMNS.filter(lambda columns: all(datatype != "BYTES" for datatype, _ in columns)), st.integers(1, 6), st.data()
)
def test_some_rows_are_those_rows(columns: list[tuple[str, list[int]]], rows: int, data: st.DataObject) -> None:
    (one,) = requests(columns, [rows])
    first = data.draw(st.integers(0, rows - 1))
    last = data.draw(st.integers(first + 1, rows))
    found = merging.rows_of(one.inputs, first, last)
    assert [to_numpy(tensor).tolist() for tensor in found] == [
        to_numpy(tensor)[first:last].tolist() for tensor in one.inputs
    ]


SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 3)), TensorSpec(name="z", datatype="FP32", shape=(-1,))),
)


def asked(shape: tuple[int, ...], *outputs: str) -> InferRequest:
    tensor = Tensor("x", "FP32", shape, bytes(4 * prod(shape)))
    return InferRequest((tensor,), tuple(RequestedOutput(name) for name in outputs))


@pytest.mark.parametrize(
    ("other", "shares"),
    [
        (asked((1, 4)), True),
        (asked((7, 4)), True),
        (asked((1, 5)), False),
        (asked((1, 4), "y"), False),
    ],
)
def test_only_equal_shapes_and_outputs_share(other: InferRequest, shares: bool) -> None:
    found = merging.merge_key(other, SIGNATURE) == merging.merge_key(asked((2, 4)), SIGNATURE)
    assert found is shares


def test_outputs_are_a_set() -> None:
    one, other = asked((1, 4), "y", "z"), asked((1, 4), "z", "y")
    assert merging.merge_key(one, SIGNATURE) == merging.merge_key(other, SIGNATURE)


def test_a_model_without_a_batch_axis_shares_nothing() -> None:
    signature = SIGNATURE.model_copy(update={"outputs": (TensorSpec(name="y", datatype="FP32", shape=(3,)),)})
    assert merging.merge_key(asked((1, 4)), signature) is None
