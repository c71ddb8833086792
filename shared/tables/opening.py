"""What a file of rows is, by its beginning, and how it is opened."""

from pathlib import Path
from typing import Any, Final

from shared.tables import TableFormat
from shared.tables.arrays import NpzTable, ParquetTable
from shared.tables.base import Table
from shared.tables.text import CsvTable, JsonTable
from shared.tables.values import Unfit

FORMATS: Final = "CSV with a line of names, JSON lines, .npz or Parquet"
BEGINNINGS: Final[tuple[tuple[bytes, TableFormat], ...]] = ((b"PK\x03\x04", "npz"), (b"PAR1", "parquet"))
FOREIGN: Final = {
    b"\x93NUMPY": "one array of NumPy (.npy): save it by name with np.savez",
    b"\x1f\x8b": "packed with gzip: send it unpacked",
    b"(\xb5/\xfd": "packed with zstd: send it unpacked",
    b"\x80": "a pickle, which is never read here",
    b"\x89HDF": "HDF5",
    b"\xd0\xcf\x11\xe0": "a file of an old office program: export it as CSV",
}


def recognise(path: Path) -> TableFormat:
    """The format of a file by its beginning; raises Unfit for what is none of ours."""
    with path.open("rb") as file:
        start = file.read(4096)
    for magic, format_ in BEGINNINGS:
        if start.startswith(magic):
            return format_
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise Unfit(f"this is {what}; send {FORMATS}")
    if b"\0" in start:
        raise Unfit(f"this is no file of rows; send {FORMATS}")
    return "jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else "csv"


def open_table(path: Path, format_: TableFormat) -> Table:
    tables: dict[TableFormat, type[Any]] = {
        "csv": CsvTable,
        "jsonl": JsonTable,
        "npz": NpzTable,
        "parquet": ParquetTable,
    }
    table: Table = tables[format_](path)
    return table
