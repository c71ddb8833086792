"""Numbers of rows: each is given once, and an answer with others is nobody's."""

import numpy as np
import pytest

from services.inference.numbers import NUMBERS, Numbers, with_numbers, without_numbers
from shared.events.common import Signature, TensorSpec
from shared.oip import InferReply, InferRequest, RequestedOutput
from shared.tensors import Tensor, from_numpy, to_numpy

ROWS = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 2)),),
)
WHOLE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(3, 2)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(3, 2)),),
)
Y = from_numpy("y", np.zeros((3, 2), np.float32))


def request(rows: int, *outputs: str) -> InferRequest:
    x = from_numpy("x", np.zeros((rows, 2), np.float32))
    return InferRequest((x,), tuple(RequestedOutput(name) for name in outputs))


def reply(*outputs: Tensor) -> InferReply:
    return InferReply("m", "1", outputs)


def test_no_number_is_given_twice() -> None:
    numbers = Numbers()
    given = [to_numpy(numbers.take(request(rows), ROWS)).ravel().tolist() for rows in (1, 3, 64)]
    assert list(map(len, given)) == [1, 3, 64]
    assert len({number for each in given for number in each}) == 68


def test_without_a_batch_axis_there_is_one_number() -> None:
    assert Numbers().take(request(3), WHOLE).shape == (1,)
    assert Numbers().take(request(3), ROWS).shape == (3, 1)


def test_a_request_asks_for_its_numbers_where_it_names_outputs() -> None:
    numbers = Numbers().take(request(3), ROWS)
    assert with_numbers(request(3), numbers).outputs == ()
    asked = with_numbers(request(3, "y"), numbers)
    assert [tensor.name for tensor in asked.inputs] == ["x", NUMBERS]
    assert [output.name for output in asked.outputs] == ["y", NUMBERS]


def test_ones_own_answer_is_left_without_its_numbers() -> None:
    numbers = Numbers().take(request(3), ROWS)
    for own in (numbers, numbers._replace(data=memoryview(numbers.data))):
        assert without_numbers(reply(own, Y), numbers) == reply(Y)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_answer_with_other_numbers_or_none_is_nobodys(rows: int) -> None:
    numbers = Numbers()
    own, other = numbers.take(request(3), ROWS), numbers.take(request(rows), ROWS)
    assert without_numbers(reply(Y, other), own) is None
    assert without_numbers(reply(Y), own) is None
