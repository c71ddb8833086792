"""The process that prepares a data set: `python -m library.preparation`, spec {"dataset": name} and what is brought."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

import library
from library.base import DataSet, Part
from library.files import in_order_of, pack, write_atomically
from library.sources.profile import preview, profile
from library.sources.rows import read_parts
from shared import child
from shared.limits import restrict
from shared.names import Slug
from shared.tables import TableFormat
from shared.tables.values import slow_to_read
from shared.worker import Progress, Reporter, Result

if TYPE_CHECKING:
    from library.base import Arrays


MEMORY_BYTES = 8 * 1024**3
CPU_SECONDS = 1800


class PreparationSpec(BaseModel):
    """Which data set of the library to write into the work folder, or which file that has its schema."""

    dataset: Slug
    file: str | None = None
    format: TableFormat | None = None


def prepare(spec: dict[str, Any], reporter: Reporter) -> Result:
    """Write the three parts; equal data gives equal bytes and so an equal digest on every machine."""
    asked = PreparationSpec.model_validate(spec)
    dataset = library.data_set(asked.dataset)
    parts = _fetched(dataset, reporter) if asked.file is None else _brought(asked.file, asked.format, dataset)
    reporter.send(Progress(fraction=0.5, message="writing the parts"))
    digests = {part: _write(part, in_order_of(dataset.schema, parts[part])) for part in Part}
    sizes = {part: len(parts[part][dataset.schema.target.name]) for part in Part}
    child.log.info("%s: %s", dataset.name, ", ".join(f"{size} {part}" for part, size in sizes.items()))
    return Result(
        files={part: _file(part) for part in Part},
        data=_facts(dataset, parts, digests, sizes) | _origin(asked, dataset),
    )


def _fetched(dataset: DataSet, reporter: Reporter) -> "Mapping[Part, Arrays]":
    dataset.fetch(partial(child.tell, reporter))
    return dataset.parts()


def _brought(file: str, format_: TableFormat | None, like: DataSet) -> "Mapping[Part, Arrays]":
    restrict(MEMORY_BYTES, CPU_SECONDS, slow_to_read(CPU_SECONDS))
    return read_parts(Path(file), format_, like)


def digest_of(parts: Mapping[Part, str]) -> str:
    """The digest of a data set: the sha256 of the lines 'part digest', train, validation, test in turn."""
    return hashlib.sha256("".join(f"{part} {parts[part]}\n" for part in Part).encode()).hexdigest()


def _file(part: Part) -> str:
    return f"{part}.npz"


def _write(part: Part, items: "Arrays") -> str:
    content = pack(items)
    write_atomically(Path(_file(part)), content)
    return hashlib.sha256(content).hexdigest()


def _facts(
    dataset: DataSet, parts: "Mapping[Part, Arrays]", digests: Mapping[Part, str], sizes: Mapping[Part, int]
) -> dict[str, Any]:
    return {
        "digest": digest_of(digests),
        "parts": digests,
        "sizes": sizes,
        "labels": dataset.labels,
        "schema": dataset.schema.model_dump(mode="json"),
        "profile": profile(dataset, parts),
        "preview": preview(parts[Part.TRAIN]),
    }


def _origin(asked: PreparationSpec, dataset: DataSet) -> dict[str, str]:
    if asked.file is not None:
        return {"source": "a file that a user brought", "like": dataset.name}
    return {"source": dataset.source, "licence": dataset.licence}


if __name__ == "__main__":
    child.run(prepare)
