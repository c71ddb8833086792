"""Rows of text: CSV with a line of names, and JSON lines."""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from shared.tables import values
from shared.tables.base import Rows, Table
from shared.tables.values import Array, Unfit

LINE_BYTES: Final = 32 * 1024 * 1024
CELL_CHARACTERS: Final = 1024 * 1024
EMPTY: Final = frozenset({"", "NA"})


class TextRows(Rows):
    """Lines of a text file; what they hold lies in lists, one a column."""

    def __init__(self, columns: dict[str, list[Any]], lines: list[int], read: Callable[..., Array]) -> None:
        super().__init__(len(lines), lambda row: f"line {lines[row]}")
        self._columns, self._read = columns, read

    def _array(self, column: str, datatype: str, missing: bool) -> Array:
        found = self._columns[column]
        return self._read([_or_nan(value) for value in found] if missing else found, datatype)


def _or_nan(value: Any) -> Any:
    """A cell of text stays text, a value of JSON becomes a number."""
    if value is None:
        return float("nan")
    return "nan" if isinstance(value, str) and value.strip() in EMPTY else value


class CsvTable(Table):
    """Comma-separated values with a line of names; a column whose first value is a number holds numbers."""

    def __init__(self, path: Path) -> None:
        csv.field_size_limit(CELL_CHARACTERS)
        self._records = _records(path)
        _, header = next(self._records, (1, []))
        self.names = tuple(name.strip() for name in header)
        self._check_names()
        self._first = next(self._records, None)
        if self._first is None:
            raise Unfit("the file has no rows: below the line of names there is nothing")
        self.numeric = tuple(
            name for name, cell in zip(self.names, self._checked(*self._first), strict=True) if _is_number(cell)
        )

    def _check_names(self) -> None:
        if not any(self.names):
            raise Unfit("line 1: there must be the columns' names, separated by commas")
        for position, name in enumerate(self.names):
            if name in self.names[:position]:
                raise Unfit(f"line 1: two columns have the name '{name}': give each its own")

    def _checked(self, line: int, cells: list[str]) -> list[str]:
        if len(cells) != len(self.names):
            found = f"line {line} has {len(cells)} values, line 1 names {len(self.names)} columns"
            raise Unfit(f"{found}: put text that holds a comma or a line's end into double quotes")
        return cells

    def rows(self, columns: Sequence[str], size: int) -> Iterator[Rows]:
        assert self._first is not None
        places = {column: self.names.index(column) for column in columns}
        lines, records = [self._first[0]], [self._first[1]]
        for line, cells in self._records:
            if len(lines) == size:
                yield self._portion(places, lines, records)
                lines, records = [], []
            lines.append(line)
            records.append(self._checked(line, cells))
        yield self._portion(places, lines, records)

    def _portion(self, places: dict[str, int], lines: list[int], records: list[list[str]]) -> Rows:
        columns = {column: [cells[place] for cells in records] for column, place in places.items()}
        return TextRows(columns, lines, values.of_texts)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records of a file, each with its first line; blank lines may stand at the end alone."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, line, blank = csv.reader(file, strict=True), 1, 0
        while True:
            try:
                record = next(reader, None)
            except UnicodeDecodeError as error:
                raise Unfit(f"line {_line_of(path, error)}: this is no text in UTF-8; save the file so") from None
            except csv.Error as error:
                raise Unfit(f"line {max(line, reader.line_num)}: {error}") from None
            if record is None:
                return
            if not record:
                blank = blank or line
            elif blank:
                raise Unfit(f"line {blank} is blank: take it out")
            else:
                yield line, record
            line = reader.line_num + 1


def _line_of(path: Path, error: UnicodeDecodeError) -> int:
    """The first line that is no UTF-8; the reader decodes ahead of the lines that it gives."""
    decoder = codecs.getincrementaldecoder("utf-8")
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            try:
                decoder().decode(line, final=True)
            except UnicodeDecodeError:
                return number
    return error.start


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


class JsonTable(Table):
    """An object of JSON on each line; its members are the columns."""

    def __init__(self, path: Path) -> None:
        self._objects = _objects(path)
        self._first = next(self._objects, None)
        if self._first is None:
            raise Unfit("the file has no rows: put an object of JSON on each line")
        self.names = tuple(self._first[1])
        self.numeric = tuple(name for name, value in self._first[1].items() if type(value) in (int, float))

    def rows(self, columns: Sequence[str], size: int) -> Iterator[Rows]:
        assert self._first is not None
        line, first = self._first
        lines, found = [line], {column: [first[column]] for column in columns}
        for line, document in self._objects:
            if len(lines) == size:
                yield TextRows(found, lines, values.of_json)
                lines, found = [], {column: [] for column in columns}
            lines.append(line)
            for column in columns:
                if column not in document:
                    raise Unfit(f"line {line} has no '{column}', which line {self._first[0]} has")
                found[column].append(document[column])
        yield TextRows(found, lines, values.of_json)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    blank = 0
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                blank = blank or number
            elif blank:
                raise Unfit(f"line {blank} is blank: take it out")
            else:
                yield number, _object(line, number)


def _lines(file: Any) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LINE_BYTES):
        number += 1
        if len(line) == LINE_BYTES:
            raise Unfit(f"line {number} has more than {LINE_BYTES} bytes, the most that one may have")
        yield line


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Unfit(f"line {number}: this is no text in UTF-8") from None
    except RecursionError:
        raise Unfit(f"line {number}: the JSON is nested too deep") from None
    except ValueError as error:
        raise Unfit(f"line {number}: this is no JSON: {error}") from None
    if type(document) is not dict:
        raise Unfit(f'line {number}: there must be an object, such as {{"x": [1, 2]}}, not {type(document).__name__}')
    return document


def _no_constant(word: str) -> None:
    raise ValueError(f"JSON has no {word}")
