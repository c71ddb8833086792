"""The series of a task as one file: Parquet for tables, an event file for TensorBoard."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from typing import IO, Any

from shared.artifacts import Artifacts
from shared.db import Connection
from shared.rpc.curves import ExportedTask, ExportTask
from shared.series import store, tensorboard
from shared.series.columns import Columns
from shared.series.curves import STEP_MOST, by_name

Writer = Callable[[str, str, Columns], None]


async def exported(tx: Connection, task_id: str, request: ExportTask, artifacts: Artifacts) -> ExportedTask:
    """Series by series, in a thread, through a nameless file of ours."""
    file_name, media = _NAMES[request.format]
    with tempfile.TemporaryFile() as file:
        write, close = await asyncio.to_thread(_WRITERS[request.format], file)
        async for name, per, points in _series(tx, task_id):
            await asyncio.to_thread(write, name, per, points)
        await asyncio.to_thread(close)
        size = file.tell()
        digest = await artifacts.put_open(file)
    return ExportedTask(digest=digest, size=size, file_name=file_name.format(task_id), media=media)


async def _series(tx: Connection, task_id: str) -> AsyncIterator[tuple[str, str, Columns]]:
    for known in await store.names(tx, task_id):
        rows = await store.read(tx, task_id, known.name, -STEP_MOST, STEP_MOST)
        yield known.name, "step", store.joined(rows)
    for name, points in by_name(await store.epochs(tx, task_id)).items():
        yield name, "epoch", points


def _parquet(file: IO[bytes]) -> tuple[Writer, Callable[[], None]]:
    """A row for each point: name, per (step or epoch), step, time and value."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.dictionary(pa.int32(), pa.string())
    moment = pa.timestamp("us", tz="UTC")
    schema = pa.schema([("name", text), ("per", text), ("step", pa.int64()), ("time", moment), ("value", pa.float64())])
    writer = pq.ParquetWriter(file, schema, compression="zstd")

    def repeated(value: str, count: int) -> Any:
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), [value])

    def write(name: str, per: str, points: Columns) -> None:
        count = len(points)
        times = pa.array((points.times * 1e6).astype("<i8")).cast(moment)
        columns = [repeated(name, count), repeated(per, count), points.steps, times, points.values]
        writer.write_table(pa.table(columns, schema=schema))

    return write, writer.close


def _tensorboard(file: IO[bytes]) -> tuple[Writer, Callable[[], None]]:
    """Scalars of epochs stand below epoch/, since those of steps may have the same names."""
    file.write(tensorboard.beginning(time.time()))

    def write(name: str, per: str, points: Columns) -> None:
        for part in tensorboard.scalars(name if per == "step" else f"epoch/{name}", points):
            file.write(part)

    return write, file.flush


_WRITERS = {"parquet": _parquet, "tensorboard": _tensorboard}
_NAMES = {
    "parquet": ("{}.parquet", "application/vnd.apache.parquet"),
    "tensorboard": ("events.out.tfevents.0.{}", "application/octet-stream"),
}
