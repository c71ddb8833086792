"""The process that reads the file of a batch: `python -m services.inference.batch.reading`.

It limits its own memory and time first, looks at every row before any is asked, and leaves parts of tensors.
"""

import resource
import signal
import time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from services.inference.batch import columns, part_files
from services.inference.batch.domain import Read
from services.inference.batch.tables import CsvTable, JsonTable, Rows, Table
from services.inference.batch.values import Unfit
from shared import child
from shared.events.common import Signature
from shared.rpc.inference import TableFormat
from shared.tensors import from_numpy
from shared.worker import Progress, Reporter, Result

FORMATS: Final = "CSV with a line of names, JSON lines, .npz or Parquet"
LATE_SECONDS: Final = 30
TELL_SECONDS: Final = 0.5
BEGINNINGS: Final[tuple[tuple[bytes, TableFormat], ...]] = ((b"PK\x03\x04", "npz"), (b"PAR1", "parquet"))
FOREIGN: Final = {
    b"\x93NUMPY": "one array of NumPy (.npy): save it by name with np.savez",
    b"\x1f\x8b": "packed with gzip: send it unpacked",
    b"(\xb5/\xfd": "packed with zstd: send it unpacked",
    b"\x80": "a pickle, which is never read here",
    b"\x89HDF": "HDF5",
    b"\xd0\xcf\x11\xe0": "a file of an old office program: export it as CSV",
}


class Limits(BaseModel):
    """What is beyond ends the process: bytes of memory, seconds of processor time, rows, bytes of all tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: int
    cpu_seconds: int
    rows: int
    bytes: int


class ReadingSpec(BaseModel):
    """Which file to read, for which inputs; the first `skip` rows are looked at and not written."""

    model_config = ConfigDict(extra="forbid")

    file: str
    format: TableFormat | None
    signature: Signature
    part_rows: int
    skip: int
    limits: Limits


def main(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Write the file's rows as parts; raises Unfit for what the model does not take."""
    spec = ReadingSpec.model_validate(raw)
    restrict(spec.limits)
    try:
        return Result(data=Reading(spec, reporter).read().model_dump())
    except MemoryError:
        most = spec.limits.memory >> 20
        raise Unfit(f"reading this file takes more than {most} MiB of memory: split it, or send it as .npz") from None


def restrict(limits: Limits) -> None:
    """Too much memory raises MemoryError, too much time Unfit."""

    def late(*_: object) -> None:
        raise Unfit(f"reading this file takes more than {limits.cpu_seconds} s: split it, or send it as .npz")

    signal.signal(signal.SIGXCPU, late)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + LATE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Reading:
    """One pass over the file."""

    def __init__(self, spec: ReadingSpec, reporter: Reporter) -> None:
        self._spec, self._reporter = spec, reporter
        self._bytes, self._told = 0, time.monotonic()

    def read(self) -> Read:
        format_ = self._spec.format or recognise(Path(self._spec.file))
        table = open_table(Path(self._spec.file), format_)
        fed = columns.feeds(self._spec.signature, table.names, table.numeric, table.word)
        for feed in fed:
            child.log.info("input %s: %s", feed.spec.name, columns.sources(feed))
        used = [column for feed in fed for column in feed.columns]
        done = 0
        for rows in table.rows(used, self._spec.part_rows):
            self._write(fed, rows, done)
            done += rows.count
            self._check(done)
        if not done:
            raise Unfit("the file has no rows")
        child.log.info("read %d rows of %s", done, format_)
        return Read(format=format_, rows=done)

    def _write(self, fed: list[columns.Feed], rows: Rows, start: int) -> None:
        arrays = [columns.gathered(feed, rows) for feed in fed]
        left_out = max(0, self._spec.skip - start)
        if left_out >= rows.count:
            return
        tensors = tuple(
            from_numpy(feed.spec.name, array[left_out:], feed.spec.datatype)
            for feed, array in zip(fed, arrays, strict=True)
        )
        part = part_files.Part(start + left_out, rows.count - left_out, tensors)
        self._bytes += part_files.write(Path(part_files.waiting_name(part.start)), part)

    def _check(self, done: int) -> None:
        limits = self._spec.limits
        if done > limits.rows:
            raise Unfit(f"the file has more than {limits.rows} rows, the most that one batch may have: split it")
        if self._bytes > limits.bytes:
            raise Unfit(f"the rows take more than {limits.bytes >> 20} MiB as tensors, the most of a batch: split it")
        if time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            self._reporter.send(Progress(fraction=0, message=f"read {done} rows"))


def recognise(path: Path) -> TableFormat:
    """The format of a file by its beginning; raises Unfit for what is none of ours."""
    with path.open("rb") as file:
        start = file.read(4096)
    for magic, format_ in BEGINNINGS:
        if start.startswith(magic):
            return format_
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            raise Unfit(f"this is {what}; a batch is {FORMATS}")
    if b"\0" in start:
        raise Unfit(f"this is no file of rows; a batch is {FORMATS}")
    return "jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else "csv"


def open_table(path: Path, format_: TableFormat) -> Table:
    from services.inference.batch.arrays import NpzTable, ParquetTable

    tables: dict[TableFormat, type[Any]] = {
        "csv": CsvTable,
        "jsonl": JsonTable,
        "npz": NpzTable,
        "parquet": ParquetTable,
    }
    table: Table = tables[format_](path)
    return table


if __name__ == "__main__":
    child.run(main)
