"""Event files of TensorBoard: records with masked CRC-32C around events of one scalar each; pure.

All records of a series whose steps take equally many bytes are equally long, so that they are made and summed up as
the rows of one table, not one after the other.
"""

import struct
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.series.columns import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLYNOMIAL, MASK = 0x82F63B78, 0xA282EAD8
ROWS = 50_000
VERSION = "brain.Event:2"


def beginning(at: float) -> bytes:
    """The first record of a file, by which it is known."""
    version = VERSION.encode()
    event = b"\x09" + struct.pack("<d", at) + b"\x1a" + _varint(len(version)) + version
    return _records(np.frombuffer(event, np.uint8)[None, :])


def scalars(tag: str, points: Columns) -> Iterator[bytes]:
    """The records of a series, in the order of their steps; steps below 0 are no part of the format."""
    points = points.where(np.argsort(points.steps, kind="stable"))
    points = points.where(points.steps >= 0)
    lengths = _varint_lengths(points.steps)
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), ROWS):
            yield _records(_events(tag, points.where(alike[start : start + ROWS]), int(length)))


def _events(tag: str, points: Columns, length: int) -> "NDArray[np.uint8]":
    """A row for each event: time, step of so many bytes, and a summary with one value."""
    name = tag.encode()
    value = b"\x0a" + _varint(len(name)) + name + b"\x15"
    summary = b"\x0a" + _varint(len(value) + 4) + value
    between = b"\x2a" + _varint(len(summary) + 4) + summary
    columns = [
        _fixed(b"\x09", len(points)),
        _bytes_of(points.times.astype("<f8")),
        _fixed(b"\x10", len(points)),
        _varints(points.steps, length),
        _fixed(between, len(points)),
        _bytes_of(points.values.astype("<f4")),
    ]
    return np.hstack(columns)


def _fixed(content: bytes, rows: int) -> "NDArray[np.uint8]":
    return np.broadcast_to(np.frombuffer(content, np.uint8), (rows, len(content)))


def _bytes_of(column: "NDArray[Any]") -> "NDArray[np.uint8]":
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)


def _records(events: "NDArray[np.uint8]") -> bytes:
    """Length, its checksum, the event and its checksum, for each row."""
    size = _fixed(struct.pack("<Q", events.shape[1]), len(events))
    return np.hstack([size, _checksums(size), events, _checksums(events)]).tobytes()


def _checksums(rows: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """The masked CRC-32C of each row."""
    found = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        found = _table()[(found ^ column) & 0xFF] ^ (found >> 8)
    found = ~found
    return _bytes_of((((found >> 15) | (found << 17)) + np.uint32(MASK)).astype("<u4"))


@cache
def _table() -> "NDArray[np.uint32]":
    found = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        found = np.where(found & 1, (found >> 1) ^ np.uint32(POLYNOMIAL), found >> 1)
    return found


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _varint_lengths(numbers: "NDArray[np.int64]") -> "NDArray[np.int64]":
    return np.searchsorted(np.array([2 ** (7 * n) for n in range(1, 9)], np.int64), numbers, side="right") + 1


def _varints(numbers: "NDArray[np.int64]", length: int) -> "NDArray[np.uint8]":
    parts = [((numbers >> (7 * place)) & 0x7F | (0x80 if place < length - 1 else 0)) for place in range(length)]
    return np.stack(parts, axis=1).astype(np.uint8)
