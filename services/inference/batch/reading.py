"""The process that reads the file of a batch: `python -m services.inference.batch.reading`.

It limits its own memory and time first, looks at every row before any is asked, and leaves parts of tensors.
"""

import time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from services.inference.batch import columns, part_files
from services.inference.batch.domain import Read
from shared import child
from shared.events.common import Signature, TensorSpec
from shared.limits import restrict
from shared.tables import TableFormat
from shared.tables.base import Rows
from shared.tables.opening import open_table, recognise
from shared.tables.values import Unfit, slow_to_read
from shared.tensors import from_numpy
from shared.worker import Progress, Reporter, Result

TELL_SECONDS: Final = 0.5


class Limits(BaseModel):
    """What is beyond ends the process: bytes of memory, seconds of processor time, rows, bytes of all tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: int
    cpu_seconds: int
    rows: int
    bytes: int


class ReadingSpec(BaseModel):
    """Which file to read, for which inputs; the first `skip` rows are looked at and not written.

    Of the `optional` inputs those are read that the file has.
    """

    model_config = ConfigDict(extra="forbid")

    file: str
    format: TableFormat | None
    signature: Signature
    optional: tuple[TensorSpec, ...] = ()
    part_rows: int
    skip: int
    limits: Limits


def main(raw: dict[str, Any], reporter: Reporter) -> Result:
    """Write the file's rows as parts; raises Unfit for what the model does not take."""
    spec = ReadingSpec.model_validate(raw)
    restrict(spec.limits.memory, spec.limits.cpu_seconds, slow_to_read(spec.limits.cpu_seconds))
    try:
        return Result(data=Reading(spec, reporter).read().model_dump())
    except MemoryError:
        most = spec.limits.memory >> 20
        raise Unfit(f"reading this file takes more than {most} MiB of memory: split it, or send it as .npz") from None


class Reading:
    """One pass over the file."""

    def __init__(self, spec: ReadingSpec, reporter: Reporter) -> None:
        self._spec, self._reporter = spec, reporter
        self._bytes, self._told = 0, time.monotonic()

    def read(self) -> Read:
        format_ = self._spec.format or recognise(Path(self._spec.file))
        table = open_table(Path(self._spec.file), format_)
        optional = tuple(spec for spec in self._spec.optional if spec.name in table.names)
        given = self._spec.signature.inputs + optional
        fed = columns.feeds(Signature(inputs=given, outputs=()), table.names, table.numeric, table.word)
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


if __name__ == "__main__":
    child.run(main)
