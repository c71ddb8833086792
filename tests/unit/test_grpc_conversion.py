"""Requests over gRPC become bodies over HTTP that say the same, and answers come back as stock clients read them."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from tritonclient.grpc import InferResult
from tritonclient.grpc import service_pb2 as pb

from services.gateway.open_inference.grpc_conversion import CONTENTS, decode_reply, encode_request
from services.gateway.open_inference.grpc_methods import METHODS
from services.gateway.open_inference.protocol import Answer
from shared import oip
from shared.errors import InvalidInput
from shared.tensors import DTYPES, Tensor, from_numpy

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NUMBERS = st.sampled_from(list(DTYPES.values())).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
STRINGS = arrays.arrays(object, SHAPES, elements=st.binary(max_size=5), fill=st.just(b""))
TENSORS = (NUMBERS | STRINGS).map(lambda array: from_numpy("", array)) | SHAPES.map(
    lambda shape: from_numpy("", np.ones(shape, np.float32), "BF16")
)
TYPED = (NUMBERS | STRINGS).filter(lambda array: array.dtype.kind != "f" or array.itemsize > 2)
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.text() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False)
PARAMETERS = st.dictionaries(st.sampled_from(["a", "priority", "binary_data_output"]), SCALARS)
KINDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def named(tensors: list[Tensor], letter: str) -> tuple[Tensor, ...]:
    return tuple(tensor._replace(name=f"{letter}{number}") for number, tensor in enumerate(tensors))


def described(tensor: Tensor, **more: Any) -> Any:
    shape = list(tensor.shape)
    return pb.ModelInferRequest.InferInputTensor(name=tensor.name, datatype=tensor.datatype, shape=shape, **more)


def parameters(given: dict[str, Any]) -> dict[str, Any]:
    return {name: pb.InferParameter(**{KINDS[type(value)]: value}) for name, value in given.items()}


def parsed(request: Any) -> oip.InferRequest:
    return oip.parse_request(*encode_request(pb.ModelInferRequest.FromString(request.SerializeToString())))


class TestRequests:
    @given(st.lists(TENSORS, min_size=1, max_size=4), PARAMETERS, st.text(max_size=9), st.booleans())
    def test_raw_tensors_and_all_else_arrive(
        self, tensors: list[Tensor], given_parameters: dict[str, Any], request_id: str, asks: bool
    ) -> None:
        inputs = named(tensors, "x")
        request = pb.ModelInferRequest(
            id=request_id,
            inputs=[described(tensor, parameters=parameters({"a": 1})) for tensor in inputs],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="y0")] if asks else [],
            parameters=parameters(given_parameters),
            raw_input_contents=[tensor.data for tensor in inputs],
        )
        found = parsed(request)
        assert (found.inputs, found.id) == (inputs, request_id or None)
        assert found.parameters == given_parameters | {"binary_data_output": True}
        assert [(output.name, output.binary) for output in found.outputs] == ([("y0", True)] if asks else [])

    @given(TYPED)
    def test_typed_contents_are_the_same_bytes(self, array: NDArray[Any]) -> None:
        tensor = from_numpy("x", array)
        contents = pb.InferTensorContents(**{CONTENTS[tensor.datatype]: array.ravel().tolist()})
        (found,) = parsed(pb.ModelInferRequest(inputs=[described(tensor, contents=contents)])).inputs
        if array.dtype.kind == "f":
            np.testing.assert_array_equal(np.frombuffer(found.data, array.dtype), array.ravel())
        else:
            assert found == tensor

    @pytest.mark.parametrize(("datatype", "values"), [("INT8", [128]), ("UINT8", [256]), ("INT16", [-(2**15) - 1])])
    def test_numbers_outside_the_range_are_refused(self, datatype: str, values: list[int]) -> None:
        contents = pb.InferTensorContents(**{CONTENTS[datatype]: values})
        tensor = described(Tensor("x", datatype, (1,), b""), contents=contents)
        with pytest.raises(InvalidInput, match=f"outside the range of {datatype}"):
            encode_request(pb.ModelInferRequest(inputs=[tensor]))

    @pytest.mark.parametrize("value", [{"double_param": float("inf")}, {"double_param": float("nan")}, {}])
    def test_parameters_that_json_cannot_express_are_refused(self, value: dict[str, float]) -> None:
        request = pb.ModelInferRequest(parameters={"a": pb.InferParameter(**value)})
        with pytest.raises(InvalidInput, match="parameter 'a'"):
            encode_request(request)

    @given(st.binary(max_size=200))
    @example(b"\x2a\x00\x3a\x00")
    def test_whatever_comes_is_encoded_or_refused(self, message: bytes) -> None:
        with suppress(DecodeError, InvalidInput):
            parsed(pb.ModelInferRequest.FromString(message))


class TestReplies:
    @given(st.lists(NUMBERS | STRINGS, min_size=1, max_size=4), PARAMETERS)
    def test_stock_clients_read_them(self, values: list[NDArray[Any]], given_parameters: Any) -> None:
        outputs = named([from_numpy("", array) for array in values], "y")
        asked = oip.InferRequest((), (), "mine", binary_default=True)
        encoded = oip.encode_reply(oip.InferReply("m", "3", outputs, parameters=given_parameters), asked)
        response = decode_reply(*encoded)
        assert (response.id, response.model_name, response.model_version) == ("mine", "m", "3")
        for tensor, array in zip(outputs, values, strict=True):
            np.testing.assert_array_equal(InferResult(response).as_numpy(tensor.name), array)
        found = {name: getattr(each, each.WhichOneof("parameter_choice")) for name, each in response.parameters.items()}
        assert found == given_parameters
        assert response.raw_output_contents == [bytes(tensor.data) for tensor in outputs]

    def test_json_tensors_become_raw(self) -> None:
        output = from_numpy("y", np.array([1, 2], np.int64))
        response = decode_reply(*oip.encode_reply(oip.InferReply("m", "3", (output,)), oip.InferRequest(())))
        assert list(response.raw_output_contents) == [output.data]

    def test_large_parameters_keep_their_value(self) -> None:
        body = b'{"model_name":"m","outputs":[],"parameters":{"a":%d}}' % (2**64 - 1)
        assert decode_reply(body, None).parameters["a"].uint64_param == 2**64 - 1


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "request_", "expected"),
        [
            ("ModelReady", pb.ModelReadyRequest(name="m"), ("/v2/models/{model}/ready", "m", "")),
            (
                "ModelInfer",
                pb.ModelInferRequest(model_name="m", model_version="2"),
                ("/v2/models/{model}/versions/{version}/infer", "m", "2"),
            ),
            ("ModelStatistics", pb.ModelStatisticsRequest(), ("/v2/models/stats", "", "")),
            ("ModelStatistics", pb.ModelStatisticsRequest(name="m"), ("/v2/models/{model}/stats", "m", "")),
            ("ServerLive", pb.ServerLiveRequest(), ("/v2/health/live", "", "")),
        ],
    )
    def test_each_is_a_route(self, method: str, request_: Any, expected: tuple[str, str, str]) -> None:
        assert METHODS[method].target(request_) == expected

    def test_a_document_may_hold_more_than_the_message(self) -> None:
        answer = Answer(200, b'{"name":"m","versions":["1"],"new":1,"inputs":[{"name":"x","shape":[-1,4]}]}', [])
        found = METHODS["ModelMetadata"].read(answer)
        assert (found.name, list(found.versions), list(found.inputs[0].shape)) == ("m", ["1"], [-1, 4])

    def test_a_refusal_can_be_an_answer(self) -> None:
        assert METHODS["ModelReady"].read(Answer(503, b'{"error":"not now"}', [])).ready is False
