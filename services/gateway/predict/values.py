"""Values that people send as tensors that a model takes; what does not fit names its field and says why. Pure."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np

from services.gateway.predict.facts import Facts, Input
from shared.errors import InvalidInput
from shared.names import listed
from shared.signatures import MAX_BATCH
from shared.tensors import DTYPES, Tensor, from_numpy

SHOWN: Final = 40
QUOTE: Final = '"'
BATCHES: Final = "/api/v1/models/{model}/batches"


class Cell(str):
    """A value that came as text, whatever it stands for."""

    __slots__ = ()


class Item(NamedTuple):
    """One thing to predict for, and what it is called in errors; a surplus name is a mistake where `strict` says so."""

    label: str
    value: Any
    strict: bool = True


def tensors(items: Sequence[Item], facts: Facts) -> tuple[Tensor, ...]:
    """The inputs for these items.

    Raises InvalidInput naming the field of the item that is missing, unknown, or not what the input takes.
    """
    _check_count(len(items), facts)
    named = [_named(item, facts) for item in items]
    return tuple(_tensor(wanted, items, named, facts) for wanted in facts.inputs)


def _check_count(count: int, facts: Facts) -> None:
    most = MAX_BATCH if facts.is_batched else 1
    if not 1 <= count <= most:
        hint = f": send a file to {BATCHES.format(model=facts.model)}" if count > most > 1 else ""
        raise InvalidInput(f"items: {_model(facts)} takes 1 to {most} at once, there are {count}{hint}", field="items")


def _named(item: Item, facts: Facts) -> Mapping[str, Any]:
    """The item as an object of the names that the model knows."""
    if isinstance(item.value, dict):
        if item.strict:
            _check_names(item, facts)
        return item.value
    if len(facts.inputs) != 1:
        names = listed((wanted.name for wanted in facts.inputs), QUOTE)
        raise InvalidInput(f"{item.label} must be an object: {_model(facts)} takes {names}", field=item.label)
    return {facts.inputs[0].name: item.value}


def _check_names(item: Item, facts: Facts) -> None:
    """No name that the model does not know, and none twice: as a whole input and as one of its numbers."""
    known = {name for wanted in facts.inputs for name in (wanted.name, *wanted.columns)}
    given_twice = {name for wanted in facts.inputs if wanted.name in item.value for name in wanted.columns}
    for name in item.value:
        if name not in known or (name in given_twice and name not in (wanted.name for wanted in facts.inputs)):
            names = listed((name for wanted in facts.inputs for name in wanted.columns or (wanted.name,)), QUOTE)
            what = "is given already" if name in known else "is unknown"
            message = f'{item.label}: "{name[:64]}" {what}; {_model(facts)} takes {names}'
            raise InvalidInput(message, field=f"{item.label}.{name[:64]}")


def _model(facts: Facts) -> str:
    return f"version {facts.version} of model '{facts.model}'"


def _tensor(wanted: Input, items: Sequence[Item], named: Sequence[Mapping[str, Any]], facts: Facts) -> Tensor:
    rows = [_row(wanted, item.label, values, facts) for item, values in zip(items, named, strict=True)]
    shape = rows[0][0]
    for item, (found, _) in zip(items, rows, strict=True):
        if found != shape:
            message = f'"{wanted.name}" has the shape {list(found)}, that of {items[0].label} is {list(shape)}'
            raise InvalidInput(f"{item.label}: {message}", field=f"{item.label}.{wanted.name}")
    full = (len(rows), *shape) if facts.is_batched else shape
    leaves = [leaf for _, row in rows for leaf in row]
    return from_numpy(wanted.name, _array(leaves, wanted.datatype).reshape(full), wanted.datatype)


def _array(leaves: list[Any], datatype: str) -> Any:
    if datatype != "BYTES":
        return np.array(leaves, DTYPES["FP32" if datatype == "BF16" else datatype])
    array = np.empty(len(leaves), object)
    array[:] = leaves
    return array


def _row(wanted: Input, label: str, values: Mapping[str, Any], facts: Facts) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and values, flat, of one item."""
    if wanted.name in values:
        where = f"{label}.{wanted.name}"
        return _nested(values[wanted.name], wanted, where)
    convert = _converter(wanted.datatype)
    row = []
    for column in wanted.columns or (wanted.name,):
        where = f"{label}.{column}"
        if column not in values:
            names = listed(wanted.columns or (name.name for name in facts.inputs), QUOTE)
            raise InvalidInput(f'{label}: "{column}" is missing; {_model(facts)} takes {names}', field=where)
        row.append(convert(values[column], where))
    return wanted.shape, row


def _nested(value: Any, wanted: Input, where: str) -> tuple[tuple[int, ...], list[Any]]:
    convert = _converter(wanted.datatype)
    size = -1 if -1 in wanted.shape else prod(wanted.shape)
    if type(value) is not list and size in (1, -1) and len(wanted.shape) <= 1:
        return (1,) * len(wanted.shape), [convert(value, where)]
    if type(value) is list and len(wanted.shape) > 1 and len(value) == size and list not in map(type, value):
        return wanted.shape, [convert(leaf, where) for leaf in value]
    level, shape = [value], []
    for axis, allowed in enumerate(wanted.shape):
        size = allowed if allowed != -1 else len(level[0]) if level and type(level[0]) is list else 0
        for entry in level:
            if type(entry) is not list or len(entry) != size:
                _misshapen(where, wanted, axis, entry)
        level = [leaf for entry in level for leaf in entry]
        shape.append(size)
    return tuple(shape), [convert(leaf, where) for leaf in level]


def _misshapen(where: str, wanted: Input, axis: int, entry: Any) -> NoReturn:
    found = f"holds {len(entry)} of them at depth {axis + 1}" if type(entry) is list else f"has {_shown(entry)} there"
    hint = " (-1 is any number)" if -1 in wanted.shape else ""
    raise InvalidInput(f"{where} must be lists of the sizes {list(wanted.shape)}{hint}; it {found}", field=where)


def _converter(datatype: str) -> Callable[[Any, str], Any]:
    if datatype == "BYTES":
        return _text
    dtype = DTYPES["FP32" if datatype == "BF16" else datatype]
    if dtype.kind == "b":
        return _truth
    if dtype.kind == "f":
        highest = float(np.finfo(dtype).max)
        return lambda value, where: _number(value, where, highest)
    bounds = np.iinfo(dtype)
    return lambda value, where: _whole(value, where, int(bounds.min), int(bounds.max))


def _text(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"{where} must be text, not {_shown(value)}", field=where)
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{where} is not valid Unicode", field=where) from None


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, Cell):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    if type(value) is not bool:
        raise InvalidInput(f"{where} must be true or false, not {_shown(value)}", field=where)
    return value


def _number(value: Any, where: str, highest: float) -> float:
    """A missing one is not a number."""
    given = _parsed(value) if isinstance(value, Cell) else value
    if given is None:
        return float("nan")
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidInput(f"{where} must be a number, or null where it is missing, not {_shown(value)}", field=where)
    if abs(given) > highest:
        raise InvalidInput(f"{where} is {_shown(value)}, beyond what the model takes ({highest:.3g})", field=where)
    return float(given)


def _whole(value: Any, where: str, lowest: int, highest: int) -> int:
    given = _parsed(value) if isinstance(value, Cell) else value
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) is not int:
        raise InvalidInput(f"{where} must be a whole number, not {_shown(value)}", field=where)
    if not lowest <= given <= highest:
        raise InvalidInput(f"{where} is {_shown(given)}, the model takes {lowest} to {highest}", field=where)
    return given


def _parsed(text: str) -> int | float | None | str:
    """The number that a text is, None for no text, the text itself where it is neither."""
    text = text.strip()
    if not text or text.lower() == "nan":
        return None
    for parse in (int, float):
        try:
            return parse(text) if "_" not in text else str(text)
        except ValueError:
            continue
    return str(text)


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
