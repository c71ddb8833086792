"""Rows in arrays: .npz, read in portions and never unpickled, and Parquet."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import numpy as np

from shared.tables import values
from shared.tables.base import Rows, Table
from shared.tables.values import Array, BadValue, Unfit

NPY: Final = ".npy"
MOST_RATIO: Final = 200
ANY_RATIO_BYTES: Final = 256 * 1024**2
PICKLED: Final = "holds Python objects, which are never read here: save numbers or text"


class ArrayRows(Rows):
    """Rows that lie in arrays."""

    word: ClassVar[str] = "array"

    def __init__(self, arrays: dict[str, Array], first: int) -> None:
        super().__init__(len(next(iter(arrays.values()))), lambda row: f"row {first + row + 1}")
        self._arrays = arrays

    def _array(self, column: str, datatype: str, missing: bool) -> Array:
        return values.of_array(self._arrays[column], datatype)


class Member:
    """An array within a zip: its shape and type, then its rows."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.name = name
        with _legible(f"array '{self.name}' cannot be read"):
            self._file = archive.open(f"{name}{NPY}")
            self.shape, fortran, self.dtype = _header(self._file)
        if self.dtype.hasobject:
            raise Unfit(f"array '{name}' {PICKLED}")
        if not self.shape:
            raise Unfit(f"array '{name}' is a single value: its first axis must be the rows")
        if fortran and len(self.shape) > 1:
            raise Unfit(f"array '{name}' lies column by column: save np.ascontiguousarray of it")

    def take(self, rows: int) -> Array:
        shape = (rows, *self.shape[1:])
        with _legible(f"array '{self.name}' cannot be read"):
            content = self._read(prod(shape) * self.dtype.itemsize)
            return np.frombuffer(content, self.dtype).reshape(shape)

    def _read(self, size: int) -> bytes:
        chunks = []
        while size and (chunk := self._file.read(size)):
            chunks.append(chunk)
            size -= len(chunk)
        if size:
            raise EOFError("it ends early")
        return b"".join(chunks)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return tuple(shape), bool(fortran), dtype


class NpzTable(Table):
    """Arrays by name whose first axis are the rows."""

    word: ClassVar[str] = "array"

    def __init__(self, path: Path) -> None:
        with _legible("this is no .npz file"):
            self._archive = zipfile.ZipFile(path)
        members = self._archive.namelist()
        self.names = tuple(dict.fromkeys(name.removesuffix(NPY) for name in members if name.endswith(NPY)))
        self.numeric = ()
        if not self.names or len(members) != len(set(members)):
            raise Unfit("this is no .npz file: it must hold arrays, each name once")
        _refuse_bomb(self._archive, path.stat().st_size)

    def rows(self, columns: Sequence[str], size: int) -> Iterator[Rows]:
        members = [Member(self._archive, name) for name in columns]
        count = members[0].shape[0]
        for member in members:
            if member.shape[0] != count:
                found = f"array '{member.name}' has {member.shape[0]} rows, '{members[0].name}' has {count}"
                raise Unfit(f"{found}: each needs one for each row")
        for start in range(0, count, size):
            taken = {member.name: member.take(min(size, count - start)) for member in members}
            yield ArrayRows(taken, start)


def _refuse_bomb(archive: zipfile.ZipFile, size: int) -> None:
    """No array is a thousand times its file; a zip whose directory lies about sizes ends early, or at the limits."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(ANY_RATIO_BYTES, MOST_RATIO * size):
        raise Unfit(f"its arrays have {unpacked} bytes, {unpacked // size} times the file: save them with np.savez")


class ParquetRows(Rows):
    """A batch of records of Arrow."""

    def __init__(self, batch: Any, first: int) -> None:
        super().__init__(batch.num_rows, lambda row: f"row {first + row + 1}")
        self._batch = batch

    def _array(self, column: str, datatype: str, missing: bool) -> Array:
        found = self._batch.column(self._batch.schema.get_field_index(column))
        if missing and _is_number(found.type):  # Arrow makes NaN of null
            return values.of_array(found.cast("float64").to_numpy(zero_copy_only=False), datatype)
        return values.of_array(_numpy(found), datatype)


class ParquetTable(Table):
    """Columns of numbers, text, or lists of equal lengths."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        with _legible("this is no Parquet file"):
            self._file = parquet.ParquetFile(path)
            schema = self._file.schema_arrow
        self.names = tuple(schema.names)
        if len(set(self.names)) != len(self.names):
            raise Unfit("two columns have one name: give each its own")
        self.numeric = tuple(field.name for field in schema if _is_number(field.type))

    def rows(self, columns: Sequence[str], size: int) -> Iterator[Rows]:
        first = 0
        with _legible("the file cannot be read to its end"):
            for batch in self._file.iter_batches(size, columns=_selected(columns)):
                yield ParquetRows(batch, first)
                first += batch.num_rows


def _selected(columns: Sequence[str]) -> list[str] | None:
    """Arrow takes a dot for the way to a nested column, so all are read where a name has one."""
    return None if any("." in column for column in columns) else list(columns)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _numpy(column: Any) -> Array:
    """A column as an array; lists become further axes. Raises BadValue for what is empty, ragged or of no use."""
    from pyarrow import types

    if column.null_count:
        raise BadValue(column.is_null().index(True).as_py(), "is empty (null): fill it, or leave the row out")
    if types.is_dictionary(column.type):
        return _numpy(column.dictionary_decode())
    if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        return _lists(column)
    if types.is_string(column.type) or types.is_large_string(column.type) or types.is_binary(column.type):
        found = np.empty(len(column), object)
        found[:] = column.to_pylist()
        return found
    if not _is_number(column.type):
        raise BadValue(0, f"holds {column.type}, which no model takes: make numbers or text of it")
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _lists(column: Any) -> Array:
    from pyarrow import compute

    lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
    if (other := np.flatnonzero(lengths != lengths[0])).size:
        row = int(other[0])
        raise BadValue(row, f"holds {lengths[row]} values, the row before {lengths[row - 1]}: all must hold as many")
    size = int(lengths[0])
    try:
        inner = _numpy(column.flatten())
    except BadValue as bad:
        raise BadValue(bad.row // max(1, size), bad.reason) from None
    return inner.reshape(len(column), size, *inner.shape[1:])


@contextmanager
def _legible(what: str) -> Iterator[None]:
    """What libraries say of a damaged file, by exceptions of many kinds, in our words."""
    try:
        yield
    except (Unfit, MemoryError):
        raise
    except Exception as error:
        raise Unfit(f"{what}: {(str(error).strip().splitlines() or [type(error).__name__])[0][:300]}") from None
