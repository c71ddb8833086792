"""The Open Inference Protocol over gRPC in the terms of HTTP: a request as a body, an answer's body as a message.

Nothing of the network is here. The messages are those of tritonclient, since a process can know their names only once.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from shared import oip
from shared.errors import InvalidInput
from shared.tensors import DTYPES, Raw, from_numpy

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
INT64_MAX = 2**63 - 1


def encode_request(request: Any) -> oip.Encoded:
    """A ModelInferRequest as a JSON header with the data of all tensors behind it; all outputs come back that way."""
    blobs = _blobs(request)
    document: dict[str, Any] = {
        "inputs": [_input(tensor, len(blob)) for tensor, blob in zip(request.inputs, blobs, strict=True)],
        "parameters": _scalars(request.parameters, "the request") | {"binary_data_output": True},
    }
    if request.id:
        document["id"] = request.id
    if request.outputs:
        document["outputs"] = [_output(output) for output in request.outputs]
    header = json.dumps(document, separators=(",", ":")).encode()
    return oip.Encoded(b"".join((header, *blobs)), len(header))


def decode_reply(body: Raw, header_length: int | None) -> Any:
    """The ModelInferResponse of an answer; its tensors are raw, as Triton's are."""
    reply = oip.decode_reply(body, header_length)
    return pb.ModelInferResponse(
        model_name=reply.model_name,
        model_version=reply.model_version,
        id=reply.id or "",
        parameters={name: _parameter(value) for name, value in reply.parameters.items()},
        outputs=[{"name": each.name, "datatype": each.datatype, "shape": each.shape} for each in reply.outputs],
        raw_output_contents=[bytes(each.data) for each in reply.outputs],
    )


def _input(tensor: Any, size: int) -> dict[str, Any]:
    parameters = _scalars(tensor.parameters, repr(tensor.name)) | {"binary_data_size": size}
    shape = list(tensor.shape)
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "parameters": parameters}


def _output(output: Any) -> dict[str, Any]:
    parameters = _scalars(output.parameters, repr(output.name)) | {"binary_data": True}
    return {"name": output.name, "parameters": parameters}


def _blobs(request: Any) -> list[Raw]:
    """The data of each input: all of them raw, or none."""
    raw = list(request.raw_input_contents)
    if not raw:
        return [_typed(tensor) for tensor in request.inputs]
    if any(tensor.contents.ListFields() for tensor in request.inputs):
        raise InvalidInput("some inputs have 'contents' beside 'raw_input_contents': send all of them one way")
    if len(raw) != len(request.inputs):
        raise InvalidInput(f"there are {len(raw)} 'raw_input_contents' for {len(request.inputs)} inputs")
    return raw


def _typed(tensor: Any) -> Raw:
    name, datatype = tensor.name, tensor.datatype
    field = CONTENTS.get(datatype)
    if field is None:
        message = f"input {name!r} of datatype {datatype[:20]!r} has no typed contents in this protocol"
        raise InvalidInput(f"{message}: send it in 'raw_input_contents'", field=name)
    if others := [found.name for found, _ in tensor.contents.ListFields() if found.name != field]:
        raise InvalidInput(f"input {name!r} is {datatype}: its data is {field!r}, not {others[0]!r}", field=name)
    try:
        array = np.array(list(getattr(tensor.contents, field)), dtype=DTYPES.get(datatype, object))
    except OverflowError:
        raise InvalidInput(f"input {name!r} holds a number outside the range of {datatype}", field=name) from None
    return from_numpy(name, array, datatype).data


def _scalars(parameters: Mapping[str, Any], label: str) -> dict[str, oip.Scalar]:
    return {name: _scalar(name, given, label) for name, given in parameters.items()}


def _scalar(name: str, given: Any, label: str) -> oip.Scalar:
    chosen = given.WhichOneof("parameter_choice")
    value: oip.Scalar | None = getattr(given, chosen) if chosen else None
    if value is None or (isinstance(value, float) and not isfinite(value)):
        raise InvalidInput(f"parameter {name[:80]!r} of {label} has no value, or one that is no number", field=name)
    return value


def _parameter(value: oip.Scalar) -> Any:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, int):
        return pb.InferParameter(**{"uint64_param" if value > INT64_MAX else "int64_param": value})
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    return pb.InferParameter(string_param=value)
