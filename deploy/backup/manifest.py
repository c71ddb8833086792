"""The manifest of a backup: what it holds, of which versions and moments, and the digest of every file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.backup.errors import BackupFailed
from deploy.embedded.launch import write_private

FORMAT = 1
NAME = "manifest.json"
SEAL = "manifest.sha256"
PARTIAL = ".partial"
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Kept:
    """A file of a backup; `size` in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Stream:
    """A stream as it was kept, up to message `last`; the bus had given numbers up to `given` when all was kept."""

    file: str
    config: dict[str, Any]
    state: dict[str, Any]
    given: int

    @property
    def last(self) -> int:
        return int(self.state["last_seq"])


@dataclass(frozen=True)
class Manifest:
    """All that is known of a backup; times are those of the database, in UTC.

    `replay_since` lies before the first stream was kept: what the outboxes published from then on is published again.
    `unpacked` is what all of it takes in a state folder, in bytes.
    """

    version: str
    source: str
    postgres: int
    bus: str
    began_at: str
    replay_since: str
    database_at: str
    migrations: dict[str, list[str]]
    audit: dict[str, Any]
    streams: dict[str, Stream]
    left_out: list[str]
    unpacked: int
    files: dict[str, Kept]
    format: int = FORMAT

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    def write(self, folder: Path) -> None:
        """Write it and its own digest, the last files of a backup."""
        text = json.dumps(asdict(self), indent=1)
        write_private(folder / NAME, text)
        write_private(folder / SEAL, hashlib.sha256(text.encode()).hexdigest())


def read(folder: Path) -> Manifest:
    """The manifest of a whole backup; raises BackupFailed with what is wrong with the folder."""
    if folder.name.endswith(PARTIAL):
        raise BackupFailed(f"{folder} is a backup that was not finished: take another")
    if not (folder / NAME).is_file():
        raise BackupFailed(f"{folder} is no backup: it has no {NAME}{_hint(folder)}")
    text = (folder / NAME).read_bytes()
    if not (folder / SEAL).is_file() or (folder / SEAL).read_text().strip() != hashlib.sha256(text).hexdigest():
        raise BackupFailed(f"{folder / NAME} was altered: its digest is not that of {SEAL}")
    found = json.loads(text)
    if found.get("format") != FORMAT:
        raise BackupFailed(f"{folder} has format {found.get('format')}, which this version does not read ({FORMAT})")
    streams = {name: Stream(**stream) for name, stream in found.pop("streams").items()}
    files = {name: Kept(**file) for name, file in found.pop("files").items()}
    return Manifest(streams=streams, files=files, **found)


def _hint(folder: Path) -> str:
    inside = [found.name for found in backups(folder)]
    return f"; it holds the backups {', '.join(inside)}: name one of them" if inside else ""


def backups(folder: Path) -> list[Path]:
    """The whole backups in a folder, the oldest first."""
    return sorted(found.parent for found in folder.glob(f"*/{NAME}") if not found.parent.name.endswith(PARTIAL))


def problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What differs from the manifest, file by file."""
    for name, kept in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != kept.size:
            yield f"{name} has {path.stat().st_size} bytes, not {kept.size}"
        elif digest_of(path) != kept.sha256:
            yield f"{name} was altered: its digest is another"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    yield from (f"{name} is not of this backup" for name in sorted(there - manifest.files.keys() - {NAME, SEAL}))


def digest_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def kept(path: Path) -> Kept:
    return Kept(path.stat().st_size, digest_of(path))
