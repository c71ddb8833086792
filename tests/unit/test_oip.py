"""The Open Inference Protocol: what is read, what is refused and why, and what is answered."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared import oip
from shared.errors import InvalidInput
from shared.tensors import DTYPES, Tensor, from_numpy, to_numpy

IMAGE = from_numpy("image", np.zeros((2, 1, 8, 8), np.float32))
LOGITS = from_numpy("logits", np.arange(4, dtype=np.float32).reshape(2, 2))
LABEL = from_numpy("label", np.array([3, 7], np.int64))

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NUMBERS = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: arrays.arrays(dtype, SHAPES, elements=arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False))
)
STRINGS = arrays.arrays(object, SHAPES, elements=st.text(max_size=5).map(str.encode), fill=st.just(b""))


def json_request(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | changes


def binary(document: dict[str, Any], blob: bytes) -> tuple[bytes, int]:
    header = json.dumps(document).encode()
    return header + blob, len(header)


def binary_entry(size: int, **changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}} | changes


def as_json(array: NDArray[Any]) -> tuple[list[Any], list[Any]]:
    """The array's values as JSON data, flat and nested."""
    plain = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    values = np.empty(array.size, object)
    values[:] = plain
    nested = values.reshape(array.shape).tolist()
    return plain, nested if array.ndim else [nested]


class TestRoundTrip:
    @given(NUMBERS | STRINGS)
    def test_json_flat_json_nested_and_binary_are_equal(self, array: NDArray[Any]) -> None:
        tensor = from_numpy("x", array)
        encoded = oip.encode_request(oip.InferRequest((tensor,)))
        flat, nested = as_json(array)
        common = {"name": "x", "datatype": tensor.datatype, "shape": list(array.shape)}
        bodies = [
            (encoded.body, encoded.header_length),
            (json_request(common | {"data": flat}), None),
            (json_request(common | {"data": nested}), None),
        ]
        for body, header_length in bodies:
            (parsed,) = oip.parse_request(body, header_length).inputs
            assert parsed == tensor
            np.testing.assert_array_equal(to_numpy(parsed), array)

    @given(st.lists(NUMBERS | STRINGS, min_size=1, max_size=4), st.data())
    def test_replies_arrive_as_they_were_sent(self, values: list[NDArray[Any]], data: st.DataObject) -> None:
        outputs = tuple(from_numpy(f"y{index}", array) for index, array in enumerate(values))
        chosen = tuple(oip.RequestedOutput(item.name, data.draw(st.none() | st.booleans())) for item in outputs)
        request = oip.InferRequest((IMAGE,), chosen, "id-1", data.draw(st.booleans()))
        reply = oip.InferReply("m", "3", outputs, "id-1", {"prediction_id": "p"})
        assert oip.decode_reply(*oip.encode_reply(reply, request)) == reply

    def test_mixed_json_and_binary_tensors_follow_the_order_of_the_header(self) -> None:
        document = {
            "inputs": [
                binary_entry(8, name="a"),
                entry(name="b"),
                binary_entry(2, name="c", datatype="BOOL"),
            ],
        }
        body, header_length = binary(document, struct.pack("<2f", 1, 2) + b"\x00\x01")
        a, b, c = oip.parse_request(body, header_length).inputs
        assert a.data == b.data
        assert to_numpy(c).tolist() == [False, True]
        assert isinstance(a.data, memoryview)

    @given(arrays.arrays(np.float32, 7, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
    def test_bfloat16_rounds_to_the_nearest(self, array: NDArray[np.float32]) -> None:
        there = to_numpy(from_numpy("x", array, "BF16"))
        np.testing.assert_array_equal(to_numpy(from_numpy("x", there, "BF16")), there)
        fits = np.isfinite(there)
        assert np.all(np.abs(there - array)[fits] <= np.abs(array)[fits] * 2.0**-8 + 1e-38)

    def test_bfloat16_keeps_nan(self) -> None:
        assert np.isnan(to_numpy(from_numpy("x", np.array([math.nan], np.float32), "BF16"))).all()


JUNK_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | JUNK_JSON,
        "datatype": st.sampled_from(["FP32", "BYTES", "BOOL", "INT8", "BF16"]) | JUNK_JSON,
        "shape": st.lists(st.integers(-2, 2**70) | st.integers(0, 3), max_size=4) | JUNK_JSON,
        "data": st.lists(JUNK_JSON, max_size=6) | JUNK_JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 2**70) | JUNK_JSON}),
    },
)


class TestHostileRequests:
    @given(st.binary(max_size=120), st.none() | st.integers(-2, 140))
    def test_junk_bytes(self, body: bytes, header_length: int | None) -> None:
        with pytest.raises(InvalidInput):
            oip.parse_request(body, header_length)

    @given(
        st.fixed_dictionaries(
            {"inputs": st.lists(ALMOST, max_size=3) | JUNK_JSON},
            optional={
                "outputs": st.lists(ALMOST, max_size=2) | JUNK_JSON,
                "id": JUNK_JSON,
                "parameters": JUNK_JSON,
            },
        ),
        st.none() | st.binary(max_size=40),
    )
    def test_almost_requests(self, document: dict[str, Any], blob: bytes | None) -> None:
        body = json.dumps(document).encode()
        try:
            oip.parse_request(body + (blob or b""), None if blob is None else len(body))
        except InvalidInput as error:
            assert error.message.isprintable()
            error.message.encode()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"data": [1, 2, 3]}, "'x' has 3 elements in 'data', shape \\[2\\] takes 2"),
            ({"data": [[1], [2]]}, "nesting of 'data' of input 'x' does not follow"),
            ({"data": [[1, 2], [3]], "shape": [2, 2]}, "nesting"),
            ({"data": [[1]], "shape": [1, 1, 1]}, "nesting"),
            ({"data": [1, [2]]}, "must hold numbers"),
            ({"data": 1}, "must be an array"),
            ({"data": [1, True]}, "must hold numbers"),
            ({"data": [1, "2"]}, "must hold numbers"),
            ({"data": [1, 1e300]}, "outside the range of FP32"),
            ({"data": [1, 10**400]}, "outside the range of FP32"),
            ({"data": [1, 3.5e38], "datatype": "BF16"}, "outside the range of BF16"),
            ({"data": [1, 70000], "datatype": "FP16"}, "outside the range of FP16"),
            ({"data": [1, 128], "datatype": "INT8"}, "outside the range of INT8"),
            ({"data": [1, -1], "datatype": "UINT64"}, "outside the range of UINT64"),
            ({"data": [1, 1.0], "datatype": "INT64"}, "must hold whole numbers"),
            ({"data": [0, 1], "datatype": "BOOL"}, "must hold true or false"),
            ({"data": ["a", 1], "datatype": "BYTES"}, "must hold strings"),
            ({"data": ["a", "\ud800"], "datatype": "BYTES"}, "not valid Unicode"),
            ({"datatype": "FP31"}, "datatype 'FP31'; known are"),
            ({"datatype": None}, "datatype None"),
            ({"shape": [-1, 2]}, "whole numbers from 0"),
            ({"shape": [True, 2]}, "whole numbers from 0"),
            ({"shape": [2.0]}, "whole numbers from 0"),
            ({"shape": 2}, "'shape' of input 'x' must be an array"),
            ({"shape": [1] * 33}, "at most 32 sizes"),
            ({"shape": [2**63]}, "whole numbers from 0"),
            ({"shape": [2**62, 2**62]}, "takes too many"),
            ({"name": ""}, "1 to 256 characters"),
            ({"name": 7}, "'name' of each of 'inputs' must be a string"),
            ({"parameters": {"shared_memory_region": "r"}}, "shared memory is not served"),
            ({"parameters": {"binary_data_size": 8}}, "both 'data' and 'binary_data_size'"),
            ({"parameters": {"binary_data_size": True}}, "must be a whole number"),
            ({"parameters": {"p": None}}, "parameter 'p' of 'x' must be a string, number or boolean"),
            ({"parameters": []}, "must be a JSON object"),
        ],
    )
    def test_a_wrong_json_tensor_is_named(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            oip.parse_request(json_request(entry(**changes)))

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "not valid JSON"),
            (b"\xff", "not readable UTF-8"),
            (b"[" * 100_000, "not readable|not valid JSON"),
            (b"[]", "the request must be a JSON object"),
            (b"{}", "at least one tensor"),
            (b'{"inputs": {}}', "'inputs' must be an array"),
            (b'{"inputs": [1]}', "each of 'inputs' must be a JSON object"),
            (json_request(entry(data=[1, math.nan])), "holds NaN, which is not JSON"),
            (json_request(entry(data=[1, -math.inf])), "holds -Infinity"),
            (b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[1e999]}]}', "outside the range"),
            (json_request(entry(), entry()), "'inputs' names 'x' twice"),
            (json_request(entry(), id=5), "'id' of the request must be a string"),
            (json_request(entry(), outputs=[{"name": "y"}, {"name": "y"}]), "'outputs' names 'y' twice"),
            (
                json_request(entry(), outputs=[{"name": "y", "parameters": {"classification": -1}}]),
                "'classification' of 'y' must be a whole number",
            ),
            (
                json_request(entry(), outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
                "true or false",
            ),
            (json_request(entry(), parameters={"binary_data_output": "yes"}), "true or false"),
            (json_request(binary_entry(8)), "send the header Inference-Header-Content-Length"),
            (json_request({"name": "x", "datatype": "FP32", "shape": [1]}), "neither 'data' nor"),
        ],
    )
    def test_a_wrong_json_body_is_explained(self, body: bytes, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            oip.parse_request(body)

    @pytest.mark.parametrize(
        ("tensor", "blob", "message"),
        [
            (binary_entry(8), b"1234567", "has 7 bytes of data"),
            (binary_entry(8), b"123456789", "'binary_data_size' adds up to 8"),
            (binary_entry(4), b"1234", "has 4 bytes of data, FP32 of shape \\[2\\] takes 8"),
            (binary_entry(8, shape=[2**62, 2**62]), b"12345678", "takes too many"),
            (binary_entry(-1), b"", "must be a whole number"),
            (binary_entry(2, datatype="BOOL"), b"\x00\x02", "bytes other than 0 and 1"),
            (binary_entry(8, datatype="BYTES"), struct.pack("<II", 0, 1), "does not hold 2 BYTES elements"),
            (binary_entry(8, datatype="BYTES"), b"\xff" * 8, "does not hold 2 BYTES elements"),
            (binary_entry(5, datatype="BYTES"), b"\x01\x00\x00\x00a", "does not hold 2 BYTES elements"),
            (binary_entry(12, datatype="BYTES"), bytes(12), "does not hold 2 BYTES elements"),
        ],
    )
    def test_wrong_binary_data_is_explained(self, tensor: dict[str, Any], blob: bytes, message: str) -> None:
        body, header_length = binary({"inputs": [tensor]}, blob)
        with pytest.raises(InvalidInput, match=message):
            oip.parse_request(body, header_length)

    @pytest.mark.parametrize("length", [0, -1, 10_000])
    def test_a_header_length_beyond_the_body_is_refused(self, length: int) -> None:
        with pytest.raises(InvalidInput, match="byte length of the JSON header at the body's start"):
            oip.parse_request(json_request(entry()), length)

    @pytest.mark.parametrize("value", ["", "-1", "1.5", "0x10", "٣", "9" * 11])
    def test_a_header_length_that_is_no_number_is_refused(self, value: str) -> None:
        with pytest.raises(InvalidInput, match="byte length"):
            oip.parse_header_length(value)

    def test_header_lengths_are_read(self) -> None:
        assert (oip.parse_header_length("12"), oip.parse_header_length(None)) == (12, None)


class TestReplies:
    REPLY = oip.InferReply("digits-cnn", "2", (LOGITS, LABEL), None, {"prediction_id": "p"})

    def test_a_json_reply_has_the_fields_of_the_protocol(self) -> None:
        encoded = oip.encode_reply(self.REPLY, oip.InferRequest((IMAGE,), id="7"))
        assert encoded.header_length is None
        assert json.loads(encoded.body) == {
            "model_name": "digits-cnn",
            "model_version": "2",
            "id": "7",
            "parameters": {"prediction_id": "p"},
            "outputs": [
                {"name": "logits", "datatype": "FP32", "shape": [2, 2], "data": [0.0, 1.0, 2.0, 3.0]},
                {"name": "label", "datatype": "INT64", "shape": [2], "data": [3, 7]},
            ],
        }

    @pytest.mark.parametrize(("default", "override", "expected"), [(True, False, False), (False, True, True)])
    def test_an_output_overrides_the_default_of_its_request(
        self, default: bool, override: bool, expected: bool
    ) -> None:
        asked = (oip.RequestedOutput("logits", override), oip.RequestedOutput("label"))
        body, length = oip.encode_reply(self.REPLY, oip.InferRequest((IMAGE,), asked, None, default))
        logits, label = json.loads(body[:length])["outputs"]
        assert ("parameters" in logits, "parameters" in label) == (expected, default)

    def test_only_the_outputs_asked_for_are_sent(self) -> None:
        request = oip.InferRequest((IMAGE,), (oip.RequestedOutput("label"),))
        (output,) = oip.decode_reply(*oip.encode_reply(self.REPLY, request)).outputs
        assert output == LABEL

    def test_no_id_is_made_up(self) -> None:
        assert "id" not in json.loads(oip.encode_reply(self.REPLY, oip.InferRequest((IMAGE,))).body)

    @pytest.mark.parametrize(
        ("tensor", "message"),
        [
            (
                from_numpy("y", np.array([math.nan])),
                "NaN or infinity, which JSON cannot express: ask for it as binary",
            ),
            (from_numpy("y", np.array([b"\xff"], object)), "not UTF-8: ask for it as binary"),
        ],
    )
    def test_what_json_cannot_express_is_refused(self, tensor: Tensor, message: str) -> None:
        reply = oip.InferReply("m", "1", (tensor,))
        with pytest.raises(InvalidInput, match=message):
            oip.encode_reply(reply, oip.InferRequest((IMAGE,)))
        assert oip.decode_reply(*oip.encode_reply(reply, oip.InferRequest((IMAGE,), binary_default=True))) == reply


def test_the_metadata_document_of_the_server() -> None:
    assert oip.server_metadata("aimass", "0.1") == {
        "name": "aimass",
        "version": "0.1",
        "extensions": ["binary_tensor_data", "classification", "statistics", "model_configuration"],
    }


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [({}, None), ({"timeout": 0}, None), ({"timeout": 1500}, 0.0015), ({"timeouts": 5}, None)],
)
def test_a_timeout_is_read_from_json_and_from_a_header(parameters: dict[str, Any], seconds: float | None) -> None:
    body, length = binary({"inputs": [binary_entry(8)], "parameters": parameters}, b'"timeout')
    assert oip.timeout_of(body, length) == seconds
    assert oip.timeout_of(body[:length]) == seconds
    assert oip.timeout_of(body, 0) is None


@pytest.mark.parametrize("timeout", [-1, 1.5, "1", True])
def test_a_timeout_that_is_no_number_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidInput, match="microseconds"):
        oip.timeout_of(json_request(entry(), parameters={"timeout": timeout}))


@given(JUNK_JSON)
def test_a_timeout_is_looked_for_in_any_json(junk: Any) -> None:
    for document in (junk, {"timeout": junk}, {"parameters": {"timeout": junk}}):
        try:
            found = oip.timeout_of(json.dumps(document).encode())
        except InvalidInput:
            continue
        assert found is None or found > 0


def test_parameters_never_travel_on() -> None:
    request = oip.parse_request(json_request(entry(), id="7", parameters={"sequence_id": 3, "timeout": 5}))
    assert request.parameters == {"sequence_id": 3, "timeout": 5}
    body, length = oip.encode_request(request)
    assert json.loads(body[:length])["parameters"] == {"binary_data_output": True}


def test_arrays_without_a_datatype_are_refused() -> None:
    with pytest.raises(InvalidInput, match="complex128"):
        from_numpy("x", np.zeros(1, complex))
