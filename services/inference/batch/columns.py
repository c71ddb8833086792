"""Which columns of a file feed which inputs of a model; pure."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from shared.events.common import Signature, TensorSpec
from shared.names import listed
from shared.tables.base import Rows
from shared.tables.values import Array, Unfit


class Feed(NamedTuple):
    """An input, and the columns that it is made of: one that holds it whole, or one for each of its numbers."""

    spec: TensorSpec
    columns: tuple[str, ...]
    is_split: bool = False


def feeds(signature: Signature, names: Sequence[str], numeric: Sequence[str], word: str = "column") -> list[Feed]:
    """Columns by the input's name, by `name.0`, `name.1` …, or all numeric ones in order for an only input.

    Raises Unfit saying what the file has and what the model takes.
    """
    found = [_by_name(spec, names) for spec in signature.inputs]
    if len(found) == 1 and found[0] is None:
        return [_only(signature.inputs[0], names, numeric, word)]
    for spec, feed in zip(signature.inputs, found, strict=True):
        if feed is None:
            raise Unfit(f"the file has no {word} '{spec.name}': {_hint(spec, word)}; it has {listed(names)}")
    return [feed for feed in found if feed is not None]


def _by_name(spec: TensorSpec, names: Sequence[str]) -> Feed | None:
    if spec.name in names:
        return Feed(spec, (spec.name,))
    numbered = [name for name in names if _number(spec, name) is not None]
    if not numbered:
        return None
    if spec.shape[1:].count(-1) > 1:
        raise Unfit(f"columns '{spec.name}.0' … do not tell the shape of input '{spec.name}': send lists, or .npz")
    wanted = tuple(f"{spec.name}.{number}" for number in range(_size(spec) or len(numbered)))
    if missing := next((name for name in wanted if name not in numbered), None):
        raise Unfit(f"the file has no column '{missing}': {_hint(spec, 'column')}")
    if surplus := next((name for name in numbered if name not in wanted), None):
        raise Unfit(f"column '{surplus}' is one too many: {_hint(spec, 'column')}")
    return Feed(spec, wanted, is_split=True)


def _number(spec: TensorSpec, name: str) -> int | None:
    number = name.removeprefix(f"{spec.name}.")
    return int(number) if number != name and number.isascii() and number.isdecimal() and len(number) < 9 else None


def _only(spec: TensorSpec, names: Sequence[str], numeric: Sequence[str], word: str) -> Feed:
    """What the only input of a model takes of a file that does not name it."""
    if len(names) == 1:
        return Feed(spec, (names[0],))
    size = _size(spec)
    if spec.datatype != "BYTES" and len(numeric) == size:
        return Feed(spec, tuple(numeric), is_split=True)
    if word == "column":
        others = [name for name in names if name not in numeric]
        counted = f"the file has {len(numeric)} columns of numbers ({listed(numeric)}; others: {listed(others)})"
        hint = "leave out what is no feature, put numbers into what is one"
        raise Unfit(f"{counted}, the model's only input takes {size or 'a list of'}: {hint}, or {_hint(spec, word)}")
    raise Unfit(f"the file has no {word} '{spec.name}': {_hint(spec, word)}; it has {listed(names)}")


def _size(spec: TensorSpec) -> int | None:
    """How many numbers a row has, where the signature says it."""
    return None if -1 in spec.shape[1:] else prod(spec.shape[1:])


def _hint(spec: TensorSpec, word: str) -> str:
    shape = list(spec.shape[1:])
    size = _size(spec)
    one_each = f", or columns '{spec.name}.0' to '{spec.name}.{size - 1}'" if word == "column" and size else ""
    return f"name a {word} '{spec.name}' ({spec.datatype} {shape} a row){one_each}"


def sources(feed: Feed) -> str:
    """Of what an input is made, for the log."""
    return f"{len(feed.columns)} columns, {listed(feed.columns)}" if feed.is_split else f"'{feed.columns[0]}'"


def gathered(feed: Feed, rows: Rows) -> Array:
    """The rows of an input; raises Unfit."""
    arrays = [rows.array(column, feed.spec.datatype) for column in feed.columns]
    if not feed.is_split:
        return _shaped(feed, arrays[0])
    for column, array in zip(feed.columns, arrays, strict=True):
        if array.ndim > 1:
            raise Unfit(f"column '{column}' holds a list a row, input '{feed.spec.name}' takes one number of each")
    return np.stack(arrays, axis=1).reshape(len(arrays[0]), *feed.spec.shape[1:])


def _shaped(feed: Feed, array: Array) -> Array:
    """The rows of a column in the shape that the input takes."""
    wanted = feed.spec.shape[1:]
    found = array.shape[1:]
    if len(found) == len(wanted) and all(want in (-1, got) for want, got in zip(wanted, found, strict=True)):
        return array
    if -1 not in wanted and prod(found) == prod(wanted):
        return array.reshape(len(array), *wanted)
    given = f"holds {list(found)} a row" if found else "holds one value a row"
    raise Unfit(f"column '{feed.columns[0]}' {given}, input '{feed.spec.name}' takes {list(wanted)}")
