"""Tensors of the Open Inference Protocol as raw little-endian bytes, with their JSON and numpy forms."""

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput

Raw = bytes | memoryview

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
SIZES = {name: dtype.itemsize for name, dtype in DTYPES.items()} | {"BF16": 2}
DATATYPES = frozenset(SIZES) | {"BYTES"}
MAX_DIMENSION = 2**63 - 1
MAX_RANK = 32

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_JSON_TYPES = {
    "b": frozenset({bool}),
    "u": frozenset({int}),
    "i": frozenset({int}),
    "f": frozenset({int, float}),
}
_JSON_WORDS = {"b": "true or false", "u": "whole numbers", "i": "whole numbers", "f": "numbers"}
_LENGTH = struct.Struct("<I")


class Tensor(NamedTuple):
    """One named tensor; data is row-major, little-endian, BYTES elements with 4-byte length prefixes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Raw


def check_raw(tensor: Tensor, label: str) -> None:
    """Refuse data whose size or content does not fit the tensor's shape and datatype."""
    count = prod(tensor.shape)
    if tensor.datatype == "BYTES":
        _split_bytes(tensor.data, count, label)
    elif (expected := count * SIZES[tensor.datatype]) != len(tensor.data):
        raise InvalidInput(
            f"{label} has {len(tensor.data)} bytes of data, {tensor.datatype} of shape {list(tensor.shape)} "
            f"takes {_brief(expected)}",
            field=label,
        )
    elif tensor.datatype == "BOOL" and bytes(tensor.data).translate(None, b"\x00\x01"):
        raise InvalidInput(f"{label} holds bytes other than 0 and 1: BOOL is one such byte per element", field=label)


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any, label: str) -> Tensor:
    """The tensor of a JSON 'data' array, flat or nested as its shape says."""
    values = _flatten(data, shape, label)
    if len(values) != prod(shape):
        raise InvalidInput(
            f"{label} has {len(values)} elements in 'data', shape {list(shape)} takes {_brief(prod(shape))}",
            field=label,
        )
    encode = _encode_strings if datatype == "BYTES" else _encode_numbers
    return Tensor(name, datatype, shape, encode(values, datatype, label))


def to_json(tensor: Tensor, label: str) -> list[Any]:
    """The flat JSON 'data' array of a tensor; refuses what JSON cannot express."""
    if tensor.datatype == "BYTES":
        return [_text(element, label) for element in _split_bytes(tensor.data, prod(tensor.shape), label)]
    array = to_numpy(tensor).ravel()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInput(f"{label} holds NaN or infinity, which JSON cannot express: ask for it as binary data")
    values: list[Any] = array.tolist()
    return values


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A numpy view of the tensor's data; BF16 widens to float32, BYTES become objects of type bytes."""
    if tensor.datatype == "BYTES":
        elements = np.empty(prod(tensor.shape), dtype=object)
        elements[:] = _split_bytes(tensor.data, prod(tensor.shape), f"tensor {tensor.name!r}")
        return elements.reshape(tensor.shape)
    if tensor.datatype == "BF16":
        wide = np.frombuffer(tensor.data, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(tensor.shape)
    return np.frombuffer(tensor.data, DTYPES[tensor.datatype]).reshape(tensor.shape)


def from_numpy(name: str, array: NDArray[Any], datatype: str | None = None) -> Tensor:
    """The tensor of an array; its datatype follows the array's unless one is named."""
    shape = tuple(array.shape)
    kind = datatype or datatype_of(array.dtype)
    if kind == "BYTES":
        return Tensor(name, kind, shape, _join_bytes(array.ravel().tolist()))
    if kind == "BF16":
        return Tensor(name, kind, shape, _to_bfloat16(array))
    return Tensor(name, kind, shape, array.astype(DTYPES[kind], copy=False).tobytes())


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a numpy type."""
    if dtype.kind in "OSU":
        return "BYTES"
    name = _NAMES.get(dtype.newbyteorder("<"))
    if name is None:
        raise InvalidInput(f"arrays of {dtype} have no datatype in the Open Inference Protocol")
    return name


def _flatten(data: Any, shape: Sequence[int], label: str) -> list[Any]:
    if type(data) is not list:
        raise InvalidInput(f"'data' of {label} must be an array", field=label)
    level: list[Any] = data
    depth = 0
    while level and type(level[0]) is list:
        depth += 1
        if depth >= len(shape) or any(type(row) is not list or len(row) != shape[depth] for row in level):
            raise _misnested(shape, label)
        level = list(chain.from_iterable(level))
    if depth and level and depth + 1 != len(shape):
        raise _misnested(shape, label)
    return level


def _misnested(shape: Sequence[int], label: str) -> InvalidInput:
    message = f"the nesting of 'data' of {label} does not follow shape {list(shape)}"
    return InvalidInput(message, field=label)


def _encode_numbers(values: list[Any], datatype: str, label: str) -> bytes:
    dtype = DTYPES.get(datatype, DTYPES["FP32"])
    if not _JSON_TYPES[dtype.kind].issuperset(map(type, values)):
        raise InvalidInput(f"'data' of {label} must hold {_JSON_WORDS[dtype.kind]}, as {datatype} says", field=label)
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=dtype)
    except OverflowError as error:
        raise InvalidInput(f"'data' of {label} holds a number outside the range of {datatype}", field=label) from error
    raw = _to_bfloat16(array) if datatype == "BF16" else array.tobytes()
    if dtype.kind == "f" and not np.isfinite(to_numpy(Tensor("", datatype, (len(values),), raw))).all():
        raise InvalidInput(f"'data' of {label} holds a number outside the range of {datatype}", field=label)
    return raw


def _encode_strings(values: list[Any], _datatype: str, label: str) -> bytes:
    if not {str}.issuperset(map(type, values)):
        raise InvalidInput(f"'data' of {label} must hold strings, as BYTES says", field=label)
    try:
        return _join_bytes(values)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"'data' of {label} holds a string that is not valid Unicode", field=label) from error


def _join_bytes(values: list[Any]) -> bytes:
    elements = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def _split_bytes(data: Raw, count: int, label: str) -> list[bytes]:
    elements: list[bytes] = []
    offset, end = 0, len(data)
    while offset + 4 <= end and len(elements) < count:
        start = offset + 4
        offset = start + _LENGTH.unpack_from(data, offset)[0]
        elements.append(bytes(data[start:offset]))
    if offset != end or len(elements) != count:
        message = f"{_brief(count)} BYTES elements, each after its 4-byte little-endian length"
        raise InvalidInput(f"{label} does not hold {message}", field=label)
    return elements


def _text(element: bytes, label: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{label} holds bytes that are not UTF-8: ask for it as binary data") from error


def _to_bfloat16(array: NDArray[Any]) -> bytes:
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    halves = np.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits >> 16) | 0x40, rounded >> 16)
    return halves.astype("<u2").tobytes()


def _brief(number: int) -> str:
    return str(number) if number <= MAX_DIMENSION else "too many"
