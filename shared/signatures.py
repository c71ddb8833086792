"""What a model's signature says of a request, and of the model in the Open Inference Protocol."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from shared.classification import CLASSIFIED
from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.oip import InferRequest, parse_request
from shared.tensors import SIZES, Raw, Tensor, check_raw, from_numpy

MAX_BATCH: Final = 64
PLATFORM: Final = "onnxruntime_onnx"


def model_metadata(model: str, versions: Sequence[str], signature: Signature) -> dict[str, Any]:
    """The document of /v2/models/<model>."""
    return {
        "name": model,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_document(spec) for spec in signature.inputs],
        "outputs": [_document(spec) for spec in signature.outputs],
    }


def is_batched(signature: Signature) -> bool:
    """Whether the first axis of every tensor is the batch."""
    return all(spec.shape[:1] == (-1,) for spec in (*signature.inputs, *signature.outputs))


def batch_size(request: InferRequest) -> int:
    """The size of the first axis of the first input."""
    return request.inputs[0].shape[0] if request.inputs[0].shape else 1


def read_request(body: Raw, header_length: int | None, signature: Signature, model: str) -> InferRequest:
    """A request that the signature allows; one with a header of no length is raw."""
    if header_length == 0:
        return raw_request(body, signature, model)
    request = parse_request(body, header_length)
    validate(request, signature, model)
    return request


def raw_request(body: Raw, signature: Signature, model: str) -> InferRequest:
    """The request whose body is the data of the model's only input: one row, where there is a batch axis.

    One axis of any size follows from the length; BYTES are one element, without its length.
    """
    if len(signature.inputs) != 1:
        names = _listed(spec.name for spec in signature.inputs)
        raise InvalidInput(f"a raw binary request is for a model of one input; model '{model}' takes {names}")
    (spec,) = signature.inputs
    shape = _raw_shape(spec, len(body), is_batched(signature), model)
    if spec.datatype == "BYTES":
        element = from_numpy(spec.name, np.array([bytes(body)], object))
        return InferRequest((element._replace(shape=shape),), binary_default=True)
    tensor = Tensor(spec.name, spec.datatype, shape, body)
    check_raw(tensor, f"input '{spec.name}'")
    return InferRequest((tensor,), binary_default=True)


def _raw_shape(spec: TensorSpec, length: int, batched: bool, model: str) -> tuple[int, ...]:
    shape = (1, *spec.shape[1:]) if batched else spec.shape
    known = prod(size for size in shape if size != -1)
    if shape.count(-1) > 1 or (spec.datatype == "BYTES" and (-1 in shape or known != 1)):
        message = f"has shape {list(spec.shape)} in model '{model}', which the length of raw data does not tell"
        raise InvalidInput(f"input '{spec.name}' {message}", field=spec.name)
    if -1 not in shape:
        return shape
    free = length // (known * SIZES[spec.datatype]) if known else 0
    return tuple(free if size == -1 else size for size in shape)


def validate(request: InferRequest, signature: Signature, model: str, max_batch: int = MAX_BATCH) -> None:
    """Refuse a request that the model's signature does not allow, and say what it expects instead."""
    specs = {spec.name: spec for spec in signature.inputs}
    for tensor in request.inputs:
        if (spec := specs.pop(tensor.name, None)) is None:
            known = _listed(spec.name for spec in signature.inputs)
            message = f"model '{model}' has no input {tensor.name!r}; it takes {known}"
            raise InvalidInput(message, field=tensor.name)
        _check_input(tensor, spec, model)
    if specs:
        message = f"input {_listed(specs)} of model '{model}' is missing"
        raise InvalidInput(message, field=next(iter(specs)))
    if request.outputs:
        _check_outputs(request, signature, model)
    if is_batched(signature):
        _check_batch(request, model, max_batch)


def _check_input(tensor: Tensor, spec: TensorSpec, model: str) -> None:
    if tensor.datatype != spec.datatype:
        message = f"has datatype {tensor.datatype}, model '{model}' expects {spec.datatype}"
        raise InvalidInput(f"input '{tensor.name}' {message}", field=tensor.name)
    if not fits(tensor.shape, spec.shape):
        hint = " (-1 is any size)" if -1 in spec.shape else ""
        message = f"has shape {list(tensor.shape)}, model '{model}' expects {list(spec.shape)}{hint}"
        raise InvalidInput(f"input '{tensor.name}' {message}", field=tensor.name)


def fits(shape: Sequence[int], allowed: Sequence[int]) -> bool:
    """Whether a shape has the sizes that a signature allows."""
    return len(shape) == len(allowed) and all(want in (-1, got) for want, got in zip(allowed, shape, strict=True))


def _check_outputs(request: InferRequest, signature: Signature, model: str) -> None:
    datatypes = {spec.name: spec.datatype for spec in signature.outputs}
    for output in request.outputs:
        if output.name not in datatypes:
            message = f"model '{model}' has no output {output.name!r}; it gives {_listed(datatypes)}"
            raise InvalidInput(message, field=output.name)
        if output.classes and datatypes[output.name] not in CLASSIFIED:
            message = f"output '{output.name}' is {datatypes[output.name]}, which has no classification"
            raise InvalidInput(message, field=output.name)


def _check_batch(request: InferRequest, model: str, max_batch: int) -> None:
    sizes = {tensor.name: tensor.shape[0] for tensor in request.inputs}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"'{name}' {size}" for name, size in sizes.items())
        raise InvalidInput(f"the inputs must have one batch size (first dimension), found {found}")
    size = batch_size(request)
    if not 1 <= size <= max_batch:
        raise InvalidInput(f"the batch has {size} rows, model '{model}' takes 1 to {max_batch} in a request")


def _document(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
