"""A file of rows, whatever its format: names of columns, and rows a portion at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from shared.tables.values import Array, BadValue, Unfit


class Rows(ABC):
    """Some rows of a file; `word` is what its columns are called."""

    word: ClassVar[str] = "column"

    def __init__(self, count: int, where: Callable[[int], str]) -> None:
        self.count, self._where = count, where

    def array(self, column: str, datatype: str, *, missing: bool = False) -> Array:
        """A column as this datatype, NaN for what is empty if it may be; raises Unfit naming column and row or line."""
        try:
            return self._array(column, datatype, missing)
        except BadValue as bad:
            raise self.unfit(column, bad) from None

    def unfit(self, column: str, bad: BadValue) -> Unfit:
        """The refusal of a value, with the place where it stands."""
        return Unfit(f"{self._where(bad.row)}, {self.word} '{column}': {bad.reason}")

    @abstractmethod
    def _array(self, column: str, datatype: str, missing: bool) -> Array: ...


class Table(ABC):
    """A file; `numeric` are those of its columns that hold numbers, `word` is what they are called."""

    word: ClassVar[str] = "column"
    names: tuple[str, ...]
    numeric: tuple[str, ...]

    @abstractmethod
    def rows(self, columns: Sequence[str], size: int) -> Iterator[Rows]:
        """All rows in order, this many at a time; only these columns need to be there."""
