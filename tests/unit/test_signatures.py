"""Requests against a model's signature: what passes, and what a refusal says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.oip import InferRequest, RequestedOutput
from shared.signatures import is_batched, model_metadata, raw_request, read_request, validate
from shared.tensors import Tensor, from_numpy

SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", datatype="FP32", shape=(-1, 1, 8, 8)),),
    outputs=(
        TensorSpec(name="logits", datatype="FP32", shape=(-1, 10)),
        TensorSpec(name="label", datatype="INT64", shape=(-1,)),
    ),
)
IMAGE = from_numpy("image", np.zeros((2, 1, 8, 8), np.float32))


class TestValidate:
    def test_a_fitting_request_passes(self) -> None:
        validate(InferRequest((IMAGE,), (RequestedOutput("label"),)), SIGNATURE, "digits-cnn")

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            (
                (IMAGE._replace(datatype="FP64"),),
                "input 'image' has datatype FP64, model 'digits-cnn' expects FP32",
            ),
            (
                (IMAGE._replace(shape=(2, 8, 8, 1)),),
                r"input 'image' has shape \[2, 8, 8, 1\], model 'digits-cnn' expects \[-1, 1, 8, 8\]",
            ),
            ((IMAGE._replace(shape=(128,)),), r"has shape \[128\]"),
            ((IMAGE._replace(name="img"),), "model 'digits-cnn' has no input 'img'; it takes 'image'"),
            ((IMAGE, IMAGE._replace(name="mask")), "has no input 'mask'"),
            (
                (IMAGE._replace(shape=(65, 1, 8, 8)),),
                "the batch has 65 rows, model 'digits-cnn' takes 1 to 64",
            ),
            ((IMAGE._replace(shape=(0, 1, 8, 8)),), "the batch has 0 rows"),
        ],
    )
    def test_a_misfit_is_named(self, request_: tuple[Tensor, ...], message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            validate(InferRequest(request_), SIGNATURE, "digits-cnn")

    def test_an_unknown_output_is_named(self) -> None:
        with pytest.raises(InvalidInput, match="has no output 'probs'; it gives 'logits', 'label'"):
            validate(InferRequest((IMAGE,), (RequestedOutput("probs"),)), SIGNATURE, "m")

    @pytest.mark.parametrize("datatype", ["BOOL", "FP16", "BF16", "BYTES"])
    def test_a_classification_needs_scores(self, datatype: str) -> None:
        output = TensorSpec(name="y", datatype=datatype, shape=(-1, 3))
        signature = Signature(inputs=SIGNATURE.inputs, outputs=(output,))
        with pytest.raises(InvalidInput, match=f"output 'y' is {datatype}, which has no classification"):
            validate(InferRequest((IMAGE,), (RequestedOutput("y", classes=1),)), signature, "m")

    def test_missing_inputs_and_unequal_batches_are_named(self) -> None:
        mask = TensorSpec(name="mask", datatype="FP32", shape=(-1, 4))
        signature = Signature(inputs=(*SIGNATURE.inputs, mask), outputs=SIGNATURE.outputs)
        with pytest.raises(InvalidInput, match="input 'mask' of model 'm' is missing"):
            validate(InferRequest((IMAGE,)), signature, "m")
        three = from_numpy("mask", np.zeros((3, 4), np.float32))
        with pytest.raises(InvalidInput, match="one batch size .* found 'image' 2, 'mask' 3"):
            validate(InferRequest((IMAGE, three)), signature, "m")

    def test_models_without_a_batch_axis_know_no_batch_cap(self) -> None:
        signature = Signature(
            inputs=(TensorSpec(name="x", datatype="FP32", shape=(100,)),),
            outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
        )
        assert not is_batched(signature)
        assert is_batched(SIGNATURE)
        validate(InferRequest((from_numpy("x", np.zeros(100, np.float32)),)), signature, "m")


def one_input(datatype: str, *shape: int) -> Signature:
    """Of a model with a batch axis where its input begins with -1."""
    output = TensorSpec(name="y", datatype="FP32", shape=(shape[0] if shape[0] == -1 else 1,))
    return Signature(inputs=(TensorSpec(name="x", datatype=datatype, shape=shape),), outputs=(output,))


class TestRaw:
    @pytest.mark.parametrize(
        ("shape", "size", "found"),
        [
            ((-1, 4), 16, (1, 4)),
            ((-1,), 4, (1,)),
            ((2, 3), 24, (2, 3)),
            ((-1, -1, 2), 24, (1, 3, 2)),
            ((3, -1), 24, (3, 2)),
            ((3, -1), 0, (3, 0)),
        ],
    )
    def test_the_shape_follows_from_signature_and_length(
        self, shape: tuple[int, ...], size: int, found: tuple[int, ...]
    ) -> None:
        request = read_request(bytes(size), 0, one_input("FP32", *shape), "m")
        assert (request.inputs, request.binary_default) == ((Tensor("x", "FP32", found, bytes(size)),), True)

    def test_bytes_are_one_element_without_its_length(self) -> None:
        (tensor,) = raw_request(memoryview(b"a long text"), one_input("BYTES", -1, 1), "m").inputs
        assert (tensor.shape, tensor.data) == ((1, 1), b"\x0b\x00\x00\x00a long text")

    @pytest.mark.parametrize(
        ("signature", "size", "message"),
        [
            (one_input("FP32", -1, 4), 32, "input 'x' has 32 bytes of data"),
            (one_input("FP32", -1, 4), 0, "input 'x' has 0 bytes of data"),
            (one_input("FP32", 3, -1), 13, "input 'x' has 13 bytes of data"),
            (one_input("FP32", -1, -1, -1), 12, "the length of raw data does not tell"),
            (one_input("FP32", 0, -1), 12, "input 'x' has 12 bytes of data"),
            (one_input("BYTES", -1, 2), 12, "the length of raw data does not tell"),
            (one_input("BYTES", -1, -1), 12, "the length of raw data does not tell"),
            (one_input("BOOL", -1, 2), 3, "input 'x' has 3 bytes of data"),
            (Signature(inputs=SIGNATURE.inputs * 2), 4, "a raw binary request is for a model of one input"),
        ],
    )
    def test_what_does_not_fit_is_told(self, signature: Signature, size: int, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            raw_request(bytes(size), signature, "m")

    @given(st.binary(max_size=40), st.lists(st.integers(-1, 3), min_size=1, max_size=3))
    def test_any_body_is_read_or_refused(self, body: bytes, shape: list[int]) -> None:
        for datatype in ("FP32", "INT8", "BOOL", "BYTES", "BF16"):
            signature = one_input(datatype, *shape)
            try:
                request = raw_request(body, signature, "m")
            except InvalidInput:
                continue
            validate(request, signature, "m")


def test_the_metadata_document_of_a_model() -> None:
    document = model_metadata("digits-cnn", ["1", "2"], SIGNATURE)
    assert document["versions"] == ["1", "2"]
    assert document["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert json.loads(json.dumps(document)) == document
