"""Files that are complete or absent, and arrays whose file depends on nothing but the arrays."""

import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from library.base import Arrays, Schema


def write_atomically(path: Path, content: bytes) -> None:
    """After a crash at any point the path holds either all of the content or what it held before."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack(arrays: "Arrays") -> bytes:
    """An .npz file; unlike numpy's own it holds no time of writing, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(np.asarray(array)))
    return buffer.getvalue()


def _npy(array: "np.ndarray") -> bytes:
    """Texts as what numpy can write without pickling."""
    array = array.astype("S") if array.dtype.kind == "O" else array
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def unpack(path: Path) -> "Arrays":
    """The arrays of an .npz file, by name."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def in_order_of(schema: "Schema", items: "Arrays") -> "Arrays":
    """The columns of a part as the schema has them, so that the target is the last."""
    return {column.name: items[column.name] for column in (*schema.features, schema.target)}


def target_of(items: "Arrays") -> str:
    """The name of what is to be told of the items of a part."""
    return [*items][-1]
