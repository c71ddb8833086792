"""A file of rows that somebody brings, as the parts of a data set that is like one of the library's."""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from library.base import DataSet, Feature, Part
from library.sources.folders import is_folder, read_pictures
from library.sources.split import divide
from shared.names import listed
from shared.tables import TableFormat
from shared.tables.base import Rows, Table
from shared.tables.opening import open_table, recognise
from shared.tables.values import BadValue, Unfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

PART: Final = "part"
PORTION: Final = 10_000
MOST_BYTES: Final = 2 * 1024**3
MOST_TEXT: Final = 64 * 1024


def read_parts(path: Path, format_: TableFormat | None, like: DataSet) -> "dict[Part, Arrays]":
    """The parts that the file names, in a column `part` or by folders, else divided by the rule of what it is like.

    Columns are known by the names in that data set's schema, labels by their words or numbers. Raises Unfit saying
    what is wrong, and where.
    """
    if format_ is None and is_folder(path):
        items, marks = read_pictures(path, like)
    else:
        items = _Brought(open_table(path, format_ or recognise(path)), like).items()
        marks = items.pop(PART, None)
    parts = divide(items, like.schema.target.name, like.split) if marks is None else _marked(items, marks)
    for part, found in parts.items():
        if len(found[like.schema.target.name]) == 0:
            raise Unfit(f"the part '{part}' has no rows: bring more, or name each one's part, in a column '{PART}'")
    return parts


def _marked(items: "Arrays", marks: "NDArray[Any]") -> "dict[Part, Arrays]":
    return {part: {name: values[marks == part] for name, values in items.items()} for part in Part}


class _Brought:
    """One pass over the file, with an array for each column of the schema."""

    def __init__(self, table: Table, like: DataSet) -> None:
        self._table, self._like = table, like
        self._columns = {column.name: self._of(column) for column in (*like.schema.features, like.schema.target)}
        taken = {name for columns in self._columns.values() for name in columns}
        self._used = [*taken, PART] if PART in table.names and PART not in taken else [*taken]

    def _of(self, feature: Feature) -> tuple[str, ...]:
        """The columns of the file that hold a feature: one that has its name, or one for each of its numbers."""
        has = f"it has {listed(self._table.names)}"
        if feature.name in self._table.names:
            return (feature.name,)
        if not feature.columns:
            wanted = f"'{feature.name}' ({feature.datatype} {list(feature.shape)} a row)"
            raise Unfit(f"the file has no {self._table.word} {wanted}; {has}")
        if missing := [name for name in feature.columns if name not in self._table.names]:
            raise Unfit(f"the file has no column {listed(missing)}; {has}")
        return feature.columns

    def items(self) -> "Arrays":
        found: dict[str, list[NDArray[Any]]] = {}
        size = 0
        for rows in self._table.rows(self._used, PORTION):
            for name, array in self._arrays(rows):
                found.setdefault(name, []).append(array)
                size += array.nbytes
            if size > MOST_BYTES:
                raise Unfit(f"the rows take more than {MOST_BYTES >> 20} MiB as arrays: bring fewer")
        if not size:
            raise Unfit("the file has no rows")
        return {name: np.concatenate(arrays) for name, arrays in found.items()}

    def _arrays(self, rows: Rows) -> "Iterator[tuple[str, NDArray[Any]]]":
        schema, labels = self._like.schema, self._like.labels
        for feature in schema.features if labels else (*schema.features, schema.target):
            yield feature.name, _feature(rows, feature, self._columns[feature.name])
        if labels:
            yield schema.target.name, _classes(rows, schema.target.name, labels)
        if PART in self._used:
            yield PART, _marks(rows)


def _feature(rows: Rows, feature: Feature, columns: tuple[str, ...]) -> "NDArray[Any]":
    if feature.datatype == "BYTES":
        return _texts(rows, columns[0])
    arrays = [_numbers(rows, column, feature) for column in columns]
    found = arrays[0] if len(columns) == 1 else np.stack(arrays, axis=1)
    if -1 in feature.shape:
        return found
    if prod(found.shape[1:]) != prod(feature.shape):
        given = list(found.shape[1:]) or "one value"
        raise Unfit(f"{rows.word} '{columns[0]}' holds {given} a row, '{feature.name}' has {list(feature.shape)}")
    return found.reshape(len(found), *feature.shape)


def _numbers(rows: Rows, column: str, feature: Feature) -> "NDArray[Any]":
    """A column whose numbers are known, unless they may be missing, and within the range of the schema."""
    values = rows.array(column, feature.datatype, missing=feature.missing)
    low = -np.inf if feature.minimum is None else feature.minimum
    high = np.inf if feature.maximum is None else feature.maximum
    fits = (values >= low) & (values <= high) & ~np.isinf(values) | (feature.missing & np.isnan(values))
    if not fits.all():
        row, *_ = place = tuple(int(index) for index in np.argwhere(~fits)[0])
        reason = f"{values[place]} is outside of what the schema allows, {low:g} to {high:g}"
        raise rows.unfit(column, BadValue(row, reason))
    return values


def _words(rows: Rows, column: str) -> list[str]:
    texts = rows.array(column, "BYTES").ravel()
    return [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in texts]


def _texts(rows: Rows, column: str) -> "NDArray[Any]":
    encoded = [word.encode() for word in _words(rows, column)]
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    if len(encoded[longest]) > MOST_TEXT:
        raise rows.unfit(column, BadValue(longest, f"has more than {MOST_TEXT} bytes: cut it"))
    return np.array(encoded, "S")


def _classes(rows: Rows, column: str, labels: Sequence[str]) -> "NDArray[Any]":
    """The numbers of labels that stand there as words, or as numbers already."""
    try:
        words = _words(rows, column)
    except Unfit:
        words = [str(number) for number in rows.array(column, "INT64").ravel()]
    numbers = {str(number): number for number in range(len(labels))}
    numbers |= {label: number for number, label in enumerate(labels)}
    return np.array([numbers[word] for word in _known(rows, column, words, numbers, labels)], "<i8")


def _marks(rows: Rows) -> "NDArray[Any]":
    return np.array(_known(rows, PART, _words(rows, PART), frozenset(Part), [*Part]))


def _known(rows: Rows, column: str, words: list[str], allowed: Any, shown: Sequence[str]) -> list[str]:
    found = [word.strip() for word in words]
    for row, word in enumerate(found):
        if word not in allowed:
            raise rows.unfit(column, BadValue(row, f"{word[:40]!r} is none of {listed(shown)}"))
    return found
