"""What a batch is, and how its rows are cut into parts and requests; pure."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from shared.events.common import Signature, TensorSpec
from shared.names import Digest
from shared.signatures import MAX_BATCH
from shared.tables import TableFormat
from shared.tensors import SIZES

KIND: Final = "batch"
PART_BYTES: Final = 4 * 1024 * 1024
REQUEST_BYTES: Final = 256 * 1024
FREE_AXIS: Final = 256
TEXT_BYTES: Final = 1024
READ_SHARE, ASKED_SHARE = 0.05, 0.95
MEDIA_TYPES: Final[dict[TableFormat, str]] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "npz": "application/zip",
    "parquet": "application/vnd.apache.parquet",
}


class Plan(BaseModel):
    """All that a batch needs to be run; `parameters` are what people see of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    signature: Signature
    digest: Digest
    format: TableFormat | None = None
    output: TableFormat | None = None
    parameters: dict[str, Any] = {}


class Read(BaseModel):
    """What the reading process says of the file."""

    format: TableFormat
    rows: int = Field(ge=1)


def row_bytes(specs: Sequence[TensorSpec]) -> int:
    """About how many bytes a row takes; what the signature leaves open is guessed."""
    return sum(prod(FREE_AXIS if size == -1 else size for size in spec.shape[1:]) * _element(spec) for spec in specs)


def _element(spec: TensorSpec) -> int:
    return SIZES.get(spec.datatype, TEXT_BYTES)


def part_rows(specs: Sequence[TensorSpec], most: int) -> int:
    """How many rows a part has: a part is what is done again after a crash, and what a node holds in memory."""
    return max(1, min(most, PART_BYTES // max(1, row_bytes(specs))))


def request_rows(bytes_of_part: int, rows: int) -> int:
    """How many rows of a part share a request."""
    each = max(1, bytes_of_part // max(1, rows))
    return max(1, min(MAX_BATCH, REQUEST_BYTES // each))


def cuts(count: int, size: int) -> Iterator[slice]:
    """Slices of at most this size that cover all rows once, in order."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def asked_fraction(done: int, total: int) -> float:
    """How far a batch is when so many of its rows are answered."""
    return READ_SHARE + (ASKED_SHARE - READ_SHARE) * (done / max(1, total))


def seconds_left(done: int, total: int, own: int, seconds: float) -> float | None:
    """By the pace of this attempt's own rows, once there are some."""
    return (total - done) * seconds / own if own else None
