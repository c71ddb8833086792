"""Event files of TensorBoard, taken apart as its format says; the official reader is asked in a slow test."""

import struct
from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.series import tensorboard
from shared.series.columns import Columns

STEPS = st.lists(st.integers(0, 2**62), min_size=1, max_size=40)


def crc(data: bytes) -> int:
    """CRC-32C bit by bit, masked as TFRecord does."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (0x82F63B78 if found & 1 else 0)
    found ^= 0xFFFFFFFF
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content: bytes) -> Iterator[bytes]:
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        event = content[12 : 12 + size]
        assert struct.unpack("<I", content[8:12])[0] == crc(content[:8])
        assert struct.unpack("<I", content[12 + size : 16 + size])[0] == crc(event)
        yield event
        content = content[16 + size :]


def varint(data: bytes) -> tuple[int, bytes]:
    number = shift = 0
    while True:
        number |= (data[0] & 0x7F) << shift
        more, data, shift = data[0] & 0x80, data[1:], shift + 7
        if not more:
            return number, data


def scalar(event: bytes) -> tuple[float, int, str, float]:
    assert event[:1] == b"\x09" and event[9:10] == b"\x10"
    step, rest = varint(event[10:])
    assert rest[:1] == b"\x2a"
    size, summary = varint(rest[1:])
    assert size == len(summary) and summary[:1] == b"\x0a"
    size, value = varint(summary[1:])
    assert size == len(value) and value[:1] == b"\x0a"
    size, rest = varint(value[1:])
    assert rest[size : size + 1] == b"\x15" and len(rest) == size + 5
    return struct.unpack("<d", event[1:9])[0], step, rest[:size].decode(), struct.unpack("<f", rest[-4:])[0]


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(STEPS, st.text(min_size=1, max_size=200))
def test_scalars_are_read_as_they_were(steps: list[int], tag: str) -> None:
    if not tag.isascii():
        tag = tag.encode(errors="ignore").decode() or "tag"
    values = [float(np.float32(number / 7)) for number in range(len(steps))]
    points = Columns.of(steps, [1.5 * number for number in range(len(steps))], values)
    found = [scalar(event) for part in tensorboard.scalars(tag, points) for event in records(part)]
    expected = [(1.5 * number, step, tag, values[number]) for number, step in enumerate(steps)]
    assert found == sorted(expected, key=lambda event: event[1])


def test_a_file_begins_with_its_version() -> None:
    (event,) = records(tensorboard.beginning(2.0))
    assert event == b"\x09" + struct.pack("<d", 2.0) + b"\x1a\x0dbrain.Event:2"
