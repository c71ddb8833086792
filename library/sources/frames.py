"""Reads a pandas frame from its pickle without pandas and without trust: eleven names may occur, none of which acts."""

import io
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Held:
    """Stands for an object of pandas: keeps what it was made of and does nothing."""

    def __init__(self, *made_of: Any) -> None:
        self.made_of = made_of
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def frame(content: bytes) -> "dict[str, NDArray[Any]]":
    """The columns by name; raises UnpicklingError at any name beyond those that such a frame needs."""
    manager = _Reader(io.BytesIO(content)).load().state["_mgr"]
    blocks, (names, _) = manager.made_of
    found: dict[str, NDArray[Any]] = {}
    for values, where, _ in (block.made_of for block in blocks):
        found |= {column: values[row] for row, column in enumerate(_columns(names, where))}
    return found


def _columns(names: Held, where: Any) -> list[str]:
    (_, state) = names.made_of
    held = state["data"]
    return list(held[where if isinstance(where, slice) else where.astype(int)])


def _known() -> dict[tuple[str, str], Any]:
    import numpy as np

    return {
        ("pandas.core.frame", "DataFrame"): Held,
        ("pandas.core.internals.managers", "BlockManager"): Held,
        ("pandas._libs.internals", "_unpickle_block"): Held,
        ("pandas.core.indexes.base", "_new_Index"): Held,
        ("pandas.core.indexes.base", "Index"): Held,
        ("pandas.core.indexes.range", "RangeIndex"): Held,
        ("numpy.core.numeric", "_frombuffer"): _from_buffer,
        ("numpy.core.multiarray", "_reconstruct"): _empty,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("builtins", "slice"): slice,
    }


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _known()
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a frame")
        return known[module, name]


def _from_buffer(content: bytes, kind: Any, shape: tuple[int, ...], order: Any) -> "NDArray[Any]":
    import numpy as np

    found: NDArray[Any] = np.frombuffer(content, kind).reshape(shape, order=order)
    return found


def _empty(_: Any, shape: tuple[int, ...], kind: Any) -> "NDArray[Any]":
    import numpy as np

    return np.ndarray(shape, kind)
