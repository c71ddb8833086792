"""Files of tensors between the service and the processes of a batch: rows to ask, and rows that were answered.

A length, facts as JSON, then the tensors' data as on the data plane.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

from shared.tensors import Tensor

_LENGTH = struct.Struct(">I")


class Part(NamedTuple):
    """Rows from `start` on, a tensor for each input or output; an answered part names its task, so that no two are
    ever the same artifact."""

    start: int
    rows: int
    tensors: tuple[Tensor, ...]
    task: str = ""


def waiting_name(start: int) -> str:
    """The file of rows from this one on that wait for their answers; names sort as rows do."""
    return f"waiting-{start:012d}.part"


def answered_name(end: int) -> str:
    """The file of rows up to this one with which so many rows are answered."""
    return f"answered-{end:012d}.part"


def write(path: Path, part: Part) -> int:
    """Write a file; returns its size in bytes."""
    described = [(name, datatype, shape, len(data)) for name, datatype, shape, data in part.tensors]
    facts = {"start": part.start, "rows": part.rows, "task": part.task, "tensors": described}
    header = json.dumps(facts).encode()
    with path.open("wb") as file:
        file.write(_LENGTH.pack(len(header)))
        file.write(header)
        for tensor in part.tensors:
            file.write(tensor.data)
        return file.tell()


def read(path: Path) -> Part:
    content = memoryview(path.read_bytes())
    end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
    facts: dict[str, Any] = json.loads(bytes(content[_LENGTH.size : end]))
    tensors = []
    for name, datatype, shape, size in facts["tensors"]:
        tensors.append(Tensor(name, datatype, tuple(shape), content[end : end + size]))
        end += size
    return Part(facts["start"], facts["rows"], tuple(tensors), facts["task"])


def waiting(folder: Path) -> list[Path]:
    """The files in a folder whose rows wait for their answers, in the order of the rows."""
    return sorted(folder.glob("waiting-*.part"))
