"""numpy arrays as binary tensors of the Open Inference Protocol; only this file needs numpy."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_LENGTH = "Inference-Header-Content-Length"
DATATYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_NAMES = {np.dtype(code): name for name, code in DATATYPES.items()}


def encode(inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request."""
    blobs = {name: _to_bytes(array) for name, array in inputs.items()}
    document: dict[str, Any] = {"inputs": [_entry(name, inputs[name], blobs[name]) for name in inputs]}
    document["parameters"] = {"binary_data_output": True}
    if outputs:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    header = json.dumps(document).encode()
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return header + b"".join(blobs.values()), headers


def decode(body: bytes, header_length: str | None) -> dict[str, NDArray[Any]]:
    """The outputs of a reply by name."""
    size = int(header_length) if header_length else len(body)
    found: dict[str, NDArray[Any]] = {}
    for output in json.loads(body[:size])["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        if length is None:
            found[output["name"]] = np.array(output["data"], _dtype(output["datatype"])).reshape(output["shape"])
        else:
            found[output["name"]] = _from_bytes(body[size : size + length], output["datatype"], output["shape"])
            size += length
    return found


def _entry(name: str, array: NDArray[Any], blob: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": "BYTES" if array.dtype.kind in "OSU" else _NAMES[array.dtype.newbyteorder("<")],
        "shape": list(array.shape),
        "parameters": {"binary_data_size": len(blob)},
    }


def _dtype(datatype: str) -> np.dtype[Any]:
    return np.dtype(DATATYPES.get(datatype, "O"))


def _to_bytes(array: NDArray[Any]) -> bytes:
    if array.dtype.kind not in "OSU":
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    elements = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel().tolist()]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def _from_bytes(blob: bytes, datatype: str, shape: list[int]) -> NDArray[Any]:
    if datatype != "BYTES":
        return np.frombuffer(blob, DATATYPES[datatype]).reshape(shape)
    elements: list[bytes] = []
    while blob:
        end = 4 + int(struct.unpack_from("<I", blob)[0])
        elements.append(blob[4:end])
        blob = blob[end:]
    return np.array(elements, object).reshape(shape)
