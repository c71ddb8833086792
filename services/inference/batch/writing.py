"""The process that makes the result of a batch of its answered parts: `python -m services.inference.batch.writing`."""

import csv
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.inference.batch import part_files
from services.inference.batch.part_files import Part
from shared import child
from shared.tables import TableFormat
from shared.tables.values import Array, Unfit
from shared.tensors import Tensor, to_numpy
from shared.worker import Reporter, Result

GROUP_ROWS: Final = 64 * 1024
DRAFT: Final = "result.draft"


class WritingSpec(BaseModel):
    """Which parts to put together, in which order, as which format; together they have so many rows."""

    model_config = ConfigDict(extra="forbid")

    files: list[str]
    format: TableFormat
    rows: int


class Broken(Exception):
    """The parts are not the rows of the file, each once and in order."""


def main(raw: dict[str, Any], _: Reporter) -> Result:
    spec = WritingSpec.model_validate(raw)
    writer = WRITERS[spec.format](Answered(spec))
    writer.write(Path(DRAFT))
    child.log.info("wrote %d rows as %s, %d bytes", spec.rows, spec.format, Path(DRAFT).stat().st_size)
    return Result(files={"result": DRAFT})


class Answered:
    """The answered parts in order; every pass over them proves that no row is missing or there twice."""

    def __init__(self, spec: WritingSpec) -> None:
        self._spec = spec

    def __iter__(self) -> Iterator[Part]:
        done = 0
        for file in self._spec.files:
            part = part_files.read(Path(file))
            if part.start != done:
                raise Broken(f"row {done} should come next, {file} begins with row {part.start}")
            done += part.rows
            yield part
        if done != self._spec.rows:
            raise Broken(f"the parts have {done} rows, the file {self._spec.rows}")

    def outputs(self) -> tuple[Tensor, ...]:
        """Names, types and shapes, from the first part."""
        return next(iter(self)).tensors

    @property
    def rows(self) -> int:
        return self._spec.rows


class Writer(ABC):
    """Writes answered parts as a file."""

    def __init__(self, answered: Answered) -> None:
        self._answered = answered

    @abstractmethod
    def write(self, path: Path) -> None: ...


class NpzWriter(Writer):
    """An array an output; written row by row, so that no output need be in memory as a whole."""

    def write(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for number, output in enumerate(self._answered.outputs()):
                self._write_output(archive, number, output)

    def _write_output(self, archive: zipfile.ZipFile, number: int, output: Tensor) -> None:
        dtype = self._dtype(number, output)
        header: dict[str, Any] = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        header |= {"shape": (self._answered.rows, *output.shape[1:])}
        with archive.open(zipfile.ZipInfo(f"{output.name}.npy"), "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in self._answered:
                file.write(_plain(part.tensors[number]).astype(dtype, copy=False).tobytes())

    def _dtype(self, number: int, output: Tensor) -> "np.dtype[Any]":
        """Text gets the width of its longest element."""
        if output.datatype != "BYTES":
            return to_numpy(output).dtype
        width = max(_plain(part.tensors[number]).astype("U").dtype.itemsize for part in self._answered)
        return np.dtype(f"<U{max(1, width // 4)}")


class CsvWriter(Writer):
    """A column an output; one with several numbers a row has columns `name.0`, `name.1` …"""

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([name for output in self._answered.outputs() for name in _columns(output)])
            for part in self._answered:
                cells = [_texts(tensor) for tensor in part.tensors]
                writer.writerows([cell for row in rows for cell in row] for rows in zip(*cells, strict=True))


class JsonWriter(Writer):
    """An object a line; an output with several numbers a row is an array, nested as its shape is. NaN is null."""

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            names = [output.name for output in self._answered.outputs()]
            for part in self._answered:
                columns = [_json(tensor) for tensor in part.tensors]
                for row in zip(*columns, strict=True):
                    file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")


class ParquetWriter(Writer):
    """A column an output; one with several numbers a row is a list of fixed size, nested as its shape is."""

    def write(self, path: Path) -> None:
        from pyarrow import parquet

        writer: Any = None
        try:
            for table in self._tables():
                writer = writer or parquet.ParquetWriter(path, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()

    def _tables(self) -> Iterator[Any]:
        import pyarrow as arrow

        waiting: list[Any] = []
        for part in self._answered:
            waiting.append(arrow.table({tensor.name: _arrow(tensor) for tensor in part.tensors}))
            if sum(table.num_rows for table in waiting) >= GROUP_ROWS:
                yield arrow.concat_tables(waiting).combine_chunks()
                waiting = []
        if waiting:
            yield arrow.concat_tables(waiting).combine_chunks()


def _columns(output: Tensor) -> list[str]:
    size = prod(output.shape[1:])
    return [output.name] if size == 1 else [f"{output.name}.{number}" for number in range(size)]


def _plain(tensor: Tensor) -> Array:
    """The array; BYTES as text."""
    array = to_numpy(tensor)
    if tensor.datatype != "BYTES":
        return array
    try:
        text = [element.decode() for element in array.ravel()]
    except UnicodeDecodeError:
        raise Unfit(f"output '{tensor.name}' holds bytes that are not UTF-8: ask for parquet") from None
    found = np.empty(array.size, object)
    found[:] = text
    return found.reshape(array.shape)


def _texts(tensor: Tensor) -> list[list[Any]]:
    """Cells of each row; floats as short as they can be without being others."""
    array = _plain(tensor)
    flat = array.reshape(len(array), -1)
    rows: list[list[Any]] = (flat.astype(str) if array.dtype.kind == "f" else flat).tolist()
    return rows


def _json(tensor: Tensor) -> list[Any]:
    array = _plain(tensor)
    array = array.reshape(len(array)) if prod(array.shape[1:]) == 1 else array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.where(np.isfinite(array), array.astype(object), None)  # type: ignore[call-overload]
    values: list[Any] = array.tolist()
    return values


def _arrow(tensor: Tensor) -> Any:
    import pyarrow as arrow

    array = to_numpy(tensor)
    is_bytes = tensor.datatype == "BYTES"
    column = arrow.array(array.ravel().tolist(), arrow.binary()) if is_bytes else arrow.array(array.ravel())
    if prod(array.shape[1:]) == 1:
        return column
    for size in reversed(array.shape[1:]):
        column = arrow.FixedSizeListArray.from_arrays(column, size)
    return column


WRITERS: Final[dict[TableFormat, type[Writer]]] = {
    "csv": CsvWriter,
    "jsonl": JsonWriter,
    "npz": NpzWriter,
    "parquet": ParquetWriter,
}


if __name__ == "__main__":
    child.run(main)
