"""What goes to a node and comes back: the platform's code, files in pieces, and reports with the files they name."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.worker import Report

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("shared", "library", "services/trainer")
SINGLE = ("services/__init__.py",)
LEFT_OUT = frozenset({"__pycache__", "migrations", "pages"})
EPOCH = (1980, 1, 1, 0, 0, 0)
PIECE = 4 * 1024 * 1024
Item = tuple[Any, ...]


def code() -> tuple[str, bytes]:
    """The platform's code as an archive, and its digest; equal files give equal archives."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(_code_files()):
            info = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return hashlib.sha256(held.getvalue()).hexdigest(), held.getvalue()


def _code_files() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not LEFT_OUT.intersection(path.relative_to(ROOT).parts):
                yield path
    yield from (ROOT / name for name in SINGLE)


def inside(folder: Path, name: str) -> Path:
    """A file of the folder, and of nowhere else. Raises ValueError."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} is not a file of the work folder")
    return path


def files_given(spec: dict[str, Any], folder: Path) -> list[str]:
    """The files of the work folder that the fields of a spec name."""
    names = [value for value in spec.values() if isinstance(value, str) and 0 < len(value) < 256]
    return sorted({name for name in names if (folder / name).is_file() and inside(folder, name)})


def files_named(report: Report) -> list[str]:
    """The files that a report hands over."""
    one, more = getattr(report, "file", None), getattr(report, "files", {})
    return [*([one] if one else []), *more.values()]


def pieces(path: Path) -> Iterator[bytes]:
    """A file in order; an empty one is one empty piece."""
    with path.open("rb") as file:
        yield file.read(PIECE)
        while piece := file.read(PIECE):
            yield piece
