"""Requests against a model's signature: what passes, and what a refusal says."""

import json

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.oip import InferRequest, RequestedOutput
from shared.signatures import is_batched, model_metadata, validate
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


def test_the_metadata_document_of_a_model() -> None:
    document = model_metadata("digits-cnn", ["1", "2"], SIGNATURE)
    assert document["versions"] == ["1", "2"]
    assert document["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert json.loads(json.dumps(document)) == document
