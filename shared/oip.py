"""The Open Inference Protocol v2 over HTTP: requests and replies as JSON, as binary tensors, or mixed.

Nothing of the network is here: a body and the value of Inference-Header-Content-Length go in or come out.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

from shared.errors import InvalidInput
from shared.tensors import DATATYPES, MAX_DIMENSION, MAX_RANK, Raw, Tensor, check_raw, from_json, to_json

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
EXTENSIONS: Final = ["binary_tensor_data", "classification", "statistics", "model_configuration"]
MAX_NAME: Final = 256

Scalar = str | int | float | bool
NO_PARAMETERS: Final[Mapping[str, Scalar]] = MappingProxyType({})


class RequestedOutput(NamedTuple):
    """An output that a request asks for: as the best `classes` of each row, or as it is where that is 0.

    `binary` is None where the request-level default holds.
    """

    name: str
    binary: bool | None = None
    classes: int = 0


class InferRequest(NamedTuple):
    """A parsed inference request; no outputs named means all of them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    binary_default: bool = False
    parameters: Mapping[str, Scalar] = NO_PARAMETERS


class Region(NamedTuple):
    """Where data lies that is not sent: the name of memory that the server knows, and offset and size in bytes."""

    name: str
    offset: int
    size: int

    def parameters(self) -> dict[str, Scalar]:
        return {
            "shared_memory_region": self.name,
            "shared_memory_offset": self.offset,
            "shared_memory_byte_size": self.size,
        }


class InferReply(NamedTuple):
    """An inference reply before encoding, or after decoding."""

    model_name: str
    model_version: str
    outputs: tuple[Tensor, ...]
    id: str | None = None
    parameters: Mapping[str, Scalar] = NO_PARAMETERS


class Encoded(NamedTuple):
    """A body and the length of its JSON header, None where the body is JSON alone."""

    body: bytes
    header_length: int | None = None


def parse_header_length(value: str | None) -> int | None:
    """The number in an Inference-Header-Content-Length header; None where the header is absent."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise InvalidInput("Inference-Header-Content-Length must be the byte length of the JSON header")
    return int(value)


def parse_request(body: Raw, header_length: int | None = None) -> InferRequest:
    """Read and check an inference request; tensor data stays bytes."""
    header, blobs = _split(body, header_length)
    document = _object(load_json(header), "the request")
    parameters = _parameters(document, "the request")
    inputs = _tensors(document, "inputs", blobs)
    if not inputs:
        raise InvalidInput("'inputs' must name at least one tensor", field="inputs")
    return InferRequest(
        inputs,
        _requested(document),
        _id(document),
        _flag(parameters, "binary_data_output", "the request") or False,
        parameters,
    )


def timeout_of(body: bytes, header_length: int | None = None) -> float | None:
    """The seconds of the parameter `timeout` (microseconds) of a request; None where it has none, or 0.

    Nothing is parsed where the word is not there.
    """
    if body.find(b'"timeout"', 0, header_length) < 0:
        return None
    document = _object(load_json(body[:header_length]), "the request")
    timeout = _parameters(document, "the request").get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise InvalidInput("parameter 'timeout' must be a whole number of microseconds", field="timeout")
    return timeout / 1e6 or None


def encode_request(request: InferRequest, elsewhere: Mapping[str, Region] = MappingProxyType({})) -> Encoded:
    """A request with every tensor as binary data, but those whose data lies elsewhere; parameters are not passed on."""
    document: dict[str, Any] = {"inputs": [_entry(tensor, elsewhere.get(tensor.name)) for tensor in request.inputs]}
    if request.id is not None:
        document["id"] = request.id
    if request.outputs:
        document["outputs"] = [{"name": output.name, "parameters": {"binary_data": True}} for output in request.outputs]
    else:
        document["parameters"] = {"binary_data_output": True}
    return _assemble(document, [tensor.data for tensor in request.inputs if tensor.name not in elsewhere])


def encode_reply(reply: InferReply, request: InferRequest) -> Encoded:
    """The reply as its request wants it: id echoed, outputs chosen, each as JSON or binary data."""
    wanted = {output.name: output.binary for output in request.outputs}
    entries: list[dict[str, Any]] = []
    blobs: list[Raw] = []
    for tensor in reply.outputs:
        if wanted and tensor.name not in wanted:
            continue
        chosen = wanted.get(tensor.name)
        if request.binary_default if chosen is None else chosen:
            entries.append(_binary_entry(tensor))
            blobs.append(tensor.data)
        else:
            entries.append(_json_entry(tensor))
    return _assemble(_reply_head(reply, request.id) | {"outputs": entries}, blobs)


def decode_reply(body: Raw, header_length: int | None = None) -> InferReply:
    """Read and check an inference reply."""
    header, blobs = _split(body, header_length)
    document = _object(load_json(header), "the reply")
    return InferReply(
        _string(document, "model_name", "the reply"),
        str(document.get("model_version", "")),
        _tensors(document, "outputs", blobs),
        _id(document),
        _parameters(document, "the reply"),
    )


def server_metadata(name: str, version: str) -> dict[str, Any]:
    """The document of /v2 and /v2/."""
    return {"name": name, "version": version, "extensions": EXTENSIONS}


def _split(body: Raw, header_length: int | None) -> tuple[memoryview, memoryview | None]:
    view = memoryview(body)
    if header_length is None:
        return view, None
    if not 0 < header_length <= len(view):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {header_length}, the body has {len(view)} bytes: "
            "it must be the byte length of the JSON header at the body's start"
        )
    return view[:header_length], view[header_length:]


def _no_constant(word: str) -> NoReturn:
    raise InvalidInput(f"the JSON holds {word}, which is not JSON: send such values as binary data")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def load_json(header: Raw) -> Any:
    """A JSON document by the letter: UTF-8, no NaN, no infinity."""
    try:
        return _DECODER.decode(str(header, "utf-8"))
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, json.JSONDecodeError) else "not readable UTF-8 JSON"
        raise InvalidInput(f"the body is not valid JSON: {detail}") from error


def _tensors(document: dict[str, Any], key: str, blobs: memoryview | None) -> tuple[Tensor, ...]:
    names: set[str] = set()
    tensors: list[Tensor] = []
    offset = 0
    for entry in _array(document, key):
        name = _name(entry, key, names)
        size = _binary_size(entry, name, blobs)
        data = blobs[offset : offset + size] if blobs is not None and size is not None else None
        offset += size or 0
        tensors.append(_tensor(entry, name, f"{key[:-1]} {name!r}", data))
    if blobs is not None and offset != len(blobs):
        raise InvalidInput(f"{len(blobs)} bytes follow the JSON header, 'binary_data_size' adds up to {offset}")
    return tuple(tensors)


def _tensor(entry: dict[str, Any], name: str, label: str, blob: memoryview | None) -> Tensor:
    datatype = entry.get("datatype")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise InvalidInput(
            f"{label} has datatype {_shown(datatype)}; known are {', '.join(sorted(DATATYPES))}", field=name
        )
    shape = _shape(entry, label)
    if blob is not None:
        tensor = Tensor(name, datatype, shape, blob)
        check_raw(tensor, label)
        return tensor
    if "data" not in entry:
        raise InvalidInput(f"{label} has neither 'data' nor the parameter 'binary_data_size'", field=name)
    return from_json(name, datatype, shape, entry["data"], label)


def _shape(entry: dict[str, Any], label: str) -> tuple[int, ...]:
    shape = entry.get("shape")
    if type(shape) is not list or len(shape) > MAX_RANK:
        raise InvalidInput(f"'shape' of {label} must be an array of at most {MAX_RANK} sizes", field=label)
    if any(type(size) is not int or not 0 <= size <= MAX_DIMENSION for size in shape):
        raise InvalidInput(f"'shape' of {label} must hold whole numbers from 0 to 2^63 - 1", field=label)
    return tuple(shape)


def _binary_size(entry: dict[str, Any], name: str, blobs: memoryview | None) -> int | None:
    parameters = _parameters(entry, repr(name))
    if (shared := next((key for key in parameters if key.startswith("shared_memory")), None)) is not None:
        raise InvalidInput(f"{name!r} asks for {shared!r}: shared memory is not served, send the data", field=name)
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidInput(f"'binary_data_size' of {name!r} must be a whole number from 0", field=name)
    if "data" in entry:
        raise InvalidInput(f"{name!r} has both 'data' and 'binary_data_size': give one", field=name)
    if blobs is None:
        raise InvalidInput(
            f"{name!r} announces binary data: send the header Inference-Header-Content-Length as well",
            field=name,
        )
    return size


def _requested(document: dict[str, Any]) -> tuple[RequestedOutput, ...]:
    names: set[str] = set()
    return tuple(_requested_output(entry, _name(entry, "outputs", names)) for entry in _array(document, "outputs"))


def _requested_output(entry: dict[str, Any], name: str) -> RequestedOutput:
    parameters = _parameters(entry, repr(name))
    for key in parameters:
        if key.startswith("shared_memory"):
            raise InvalidInput(f"output {name!r} asks for {key!r}, which is not served", field=name)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise InvalidInput(f"'classification' of {name!r} must be a whole number from 0", field=name)
    return RequestedOutput(name, _flag(parameters, "binary_data", repr(name)), classes)


def _array(document: dict[str, Any], key: str) -> list[Any]:
    entries = document.get(key, [])
    if type(entries) is not list:
        raise InvalidInput(f"{key!r} must be an array of objects", field=key)
    return entries


def _name(entry: Any, key: str, taken: set[str]) -> str:
    name = _string(_object(entry, f"each of {key!r}"), "name", f"each of {key!r}")
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidInput(f"a name in {key!r} must have 1 to {MAX_NAME} characters", field=key)
    if name in taken:
        raise InvalidInput(f"{key!r} names {name!r} twice", field=name)
    taken.add(name)
    return name


def _parameters(entry: dict[str, Any], label: str) -> dict[str, Scalar]:
    parameters = _object(entry.get("parameters", {}), f"'parameters' of {label}")
    for key, value in parameters.items():
        if not isinstance(value, str | int | float):
            raise InvalidInput(f"parameter {_shown(key)} of {label} must be a string, number or boolean")
    return parameters


def _flag(parameters: dict[str, Scalar], key: str, label: str) -> bool | None:
    value = parameters.get(key)
    if value is not None and type(value) is not bool:
        raise InvalidInput(f"parameter {key!r} of {label} must be true or false", field=key)
    return value


def _id(document: dict[str, Any]) -> str | None:
    return _string(document, "id", "the request") if "id" in document else None


def _string(entry: dict[str, Any], key: str, label: str) -> str:
    value = entry.get(key)
    if type(value) is not str:
        raise InvalidInput(f"{key!r} of {label} must be a string", field=key)
    return value


def _object(value: Any, label: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidInput(f"{label} must be a JSON object")
    return value


def _binary_entry(tensor: Tensor) -> dict[str, Any]:
    return _entry(tensor, None)


def _entry(tensor: Tensor, region: Region | None) -> dict[str, Any]:
    parameters = region.parameters() if region else {"binary_data_size": len(tensor.data)}
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "parameters": parameters}


def _json_entry(tensor: Tensor) -> dict[str, Any]:
    data = to_json(tensor, f"output '{tensor.name}'")
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": data}


def _reply_head(reply: InferReply, request_id: str | None) -> dict[str, Any]:
    head: dict[str, Any] = {"model_name": reply.model_name, "model_version": reply.model_version}
    if request_id is not None:
        head["id"] = request_id
    if reply.parameters:
        head["parameters"] = dict(reply.parameters)
    return head


def _assemble(document: dict[str, Any], blobs: list[Raw]) -> Encoded:
    header = _ENCODER.encode(document).encode()
    return Encoded(b"".join((header, *blobs)), len(header)) if blobs else Encoded(header)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
