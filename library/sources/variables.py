"""Reads weights that were written for CTranslate2: named arrays in one binary file; nothing in it is ever run."""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION: Final = 6
TYPES: Final = ("<f4", "i1", "<i2", "<i4", "<f2")


class NotReadable(ValueError):
    """The file is not one of the form that is read here."""


def read_variables(content: bytes) -> "dict[str, NDArray[Any]]":
    """All variables by name; raises NotReadable for any other file, or one that was cut short."""
    try:
        return dict(_variables(_Reader(content)))
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise NotReadable(f"this is no file of variables of CTranslate2: {error}") from error


def _variables(reader: "_Reader") -> "Iterator[tuple[str, NDArray[Any]]]":
    if (version := reader.number("I")) != VERSION:
        raise ValueError(f"its form is {version}, not {VERSION}")
    reader.text()
    reader.number("I")
    for _ in range(reader.number("I")):
        yield reader.text(), reader.array()


class _Reader:
    """Goes through the file, little end first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def number(self, kind: str) -> int:
        (found,) = struct.unpack_from(f"<{kind}", self._content, self._place)
        self._place += struct.calcsize(kind)
        return int(found)

    def text(self) -> str:
        """Its length, zero at the end included, goes before it."""
        return self._taken(self.number("H"))[:-1].decode()

    def array(self) -> "NDArray[Any]":
        shape = [self.number("I") for _ in range(self.number("B"))]
        dtype = TYPES[self.number("B")]
        return np.frombuffer(self._taken(self.number("I")), dtype).reshape(shape)

    def _taken(self, size: int) -> bytes:
        start, self._place = self._place, self._place + size
        if self._place > len(self._content):
            raise ValueError(f"it ends after {len(self._content)} bytes")
        return self._content[start : self._place]
