"""Values of rows as arrays of a datatype; what does not fit names its row and says why. Pure."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.tensors import DTYPES, from_json, to_numpy

Array = NDArray[Any]
SHOWN: Final = 40
TEXTS: Final = {"true": True, "1": True, "false": False, "0": False}
AT_ONCE: Final[dict[str, Callable[[str], Any]]] = {"f": float, "i": int, "u": int}
WORDS: Final = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}


class Unfit(Exception):
    """The file is not what the model takes; the message is for the one who brought it."""


class BadValue(Exception):
    """A value does not fit; `row` counts from the first of those that were given."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row, self.reason = row, reason


def slow_to_read(seconds: int) -> Unfit:
    """What ends the reading of a file that takes more processor time than this."""
    return Unfit(f"reading this file takes more than {seconds} s: split it, or send it as .npz")


def dtype_of(datatype: str) -> "np.dtype[Any]":
    """The array type that holds a datatype; BF16 stays wide until it is encoded."""
    return DTYPES["FP32"] if datatype == "BF16" else DTYPES[datatype]


def of_array(array: Array, datatype: str) -> Array:
    """Numbers of another type where none changes by more than rounding; texts stay as they are."""
    kind = array.dtype.kind
    if datatype == "BYTES":
        if kind not in "SUO":
            raise BadValue(0, f"holds {array.dtype}, the model takes text")
        return array
    wanted = dtype_of(datatype)
    if kind not in "biuf" or (wanted.kind == "b" and kind != "b"):
        raise BadValue(0, f"holds {_described(array)}, the model takes {WORDS[wanted.kind]} ({datatype})")
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(wanted)
    _check_same(array, found, datatype)
    return found


def _described(array: Array) -> str:
    return "text" if array.dtype.kind in "SUO" else str(array.dtype)


def _check_same(array: Array, found: Array, datatype: str) -> None:
    if found.dtype.kind == "f":
        changed = np.isfinite(array) & ~np.isfinite(found) if array.dtype.kind == "f" else ~np.isfinite(found)
    else:
        changed = (found != array) | _wrapped(array, found)
    if changed.any():
        position = int(np.flatnonzero(changed)[0])
        row = position // max(1, changed[0].size)
        raise BadValue(row, f"{array.ravel()[position]} does not fit {datatype}")


def _wrapped(array: Array, found: Array) -> Array:
    """Where the sign went over: two 64-bit numbers of unlike signs compare as equal floats."""
    wrapped: Array = (array < 0) != (found < 0)
    return wrapped


def of_texts(texts: Sequence[str], datatype: str) -> Array:
    """The cells of a column."""
    if datatype == "BYTES":
        found = np.empty(len(texts), object)
        found[:] = [text.encode() for text in texts]
        return found
    dtype = dtype_of(datatype)
    values = _numbers(texts, dtype.kind)
    try:
        return of_array(np.array(values), datatype) if dtype.kind == "f" else np.array(values, dtype)
    except OverflowError:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        row = next(number for number, value in enumerate(values) if not low <= value <= high)
        raise BadValue(row, f"{values[row]} does not fit {datatype}") from None


def _numbers(texts: Sequence[str], kind: str) -> list[Any]:
    """All at once where they are as plain as most are, otherwise one by one."""
    if kind in AT_ONCE and "_" not in "".join(texts):
        with suppress(ValueError):
            return list(map(AT_ONCE[kind], texts))
    return [_parsed(PARSERS[kind], row, text, kind) for row, text in enumerate(texts)]


def _parsed(parse: Callable[[str], Any], row: int, text: str, kind: str) -> Any:
    try:
        return parse(text)
    except (ValueError, KeyError):
        what = "is empty" if not text.strip() else f"{text[:SHOWN]!r} is none of {WORDS[kind]}"
        raise BadValue(row, f"{what}: put {WORDS[kind]} there, or leave the row out") from None


def _number(text: str) -> float:
    if "_" in text:  # a number in Python's source alone
        raise ValueError
    return float(text)


def _whole(text: str) -> int:
    if "_" in text:
        raise ValueError
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "b": lambda text: TEXTS[text.strip().lower()],
    "i": _whole,
    "u": _whole,
    "f": _number,
}


def of_json(values: Sequence[Any], datatype: str) -> Array:
    """The values of a column, each a value or an array, nested or not; all of one shape; an object is text."""
    if datatype != "BYTES" and (found := _at_once(values)) is not None:
        return of_array(found, datatype)
    rows = [_row(number, value, datatype) for number, value in enumerate(values)]
    for number, row in enumerate(rows):
        if row.shape != rows[0].shape:
            raise BadValue(number, f"has the shape {list(row.shape)}, the first row {list(rows[0].shape)}")
    return np.stack(rows)


def _at_once(values: Sequence[Any]) -> Array | None:
    """An array of numbers; None where there is anything else, which is then looked at row by row."""
    try:
        found = np.array(values)
    except (ValueError, OverflowError):
        return None
    return found if found.dtype.kind in "biuf" else None


def _row(number: int, value: Any, datatype: str) -> Array:
    if datatype == "BYTES" and isinstance(value, dict):
        value = json.dumps(value)
    shape = _shape(value)
    try:
        tensor = from_json("", datatype, shape or (1,), value if shape else [value], "this value")
    except InvalidInput as error:
        raise BadValue(number, error.message) from None
    return to_numpy(tensor).reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a nested list, as its first elements have it."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)
