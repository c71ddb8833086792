"""Artifacts and the few other files of a home: copied with their digests, those of an earlier backup linked."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.backup.manifest import CHUNK_BYTES, Kept, Manifest, kept
from deploy.embedded.home import Home
from shared.artifacts import HOLD, HOLD_SECONDS

ARTIFACTS = "artifacts"
HOME = "home"
SEALING = ("work/auth/seal.keys", "work/inference/seal.keys")
OWN_FILES = ("secrets.json", "admin.key", "work/auth/signing.keys", *SEALING)
OWN_FOLDERS = ("members",)
DIGEST = re.compile(r"[0-9a-f]{64}")
DRAFT = "#"  # the object store's own name for what is still being written
TOLD_EVERY_SECONDS = 10.0
MIB = 1024 * 1024


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Nobody deletes an artifact meanwhile: what the database names when it is kept is still there afterwards."""
    hold, ended = home.path / ARTIFACTS / HOLD, threading.Event()
    hold.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def renew() -> None:
        while not ended.wait(HOLD_SECONDS / 10):
            hold.touch(mode=0o600)

    hold.touch(mode=0o600)
    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        hold.unlink(missing_ok=True)


def artifacts(home: Home) -> Iterator[Path]:
    """What is there now, without drafts and the hold itself."""
    root = home.path / ARTIFACTS
    for path in sorted(root.rglob("*")):
        if path.is_file() and DRAFT not in path.name and path != root / HOLD:
            yield path


def own_files(home: Home) -> Iterator[Path]:
    """Secrets, the admin's key, keys that sign tokens, and members that people brought."""
    yield from (path for name in OWN_FILES if (path := home.path / name).is_file())
    for folder in OWN_FOLDERS:
        yield from sorted(path for path in (home.path / folder).rglob("*") if path.is_file())


def bytes_to_copy(home: Home, earlier: Path | None) -> int:
    """Bytes that a backup takes beyond what an earlier one already holds."""
    new = (path for path in artifacts(home) if not _is_held_by(earlier, path.relative_to(home.path)))
    return sum(path.stat().st_size for path in (*new, *own_files(home)))


def _is_held_by(earlier: Path | None, name: Path) -> bool:
    return earlier is not None and bool(DIGEST.fullmatch(name.name)) and (earlier / name).is_file()


def keep_artifacts(
    home: Home, folder: Path, earlier: tuple[Path, Manifest] | None, say: Callable[[str], None]
) -> tuple[dict[str, Kept], list[str]]:
    """Copy or link all artifacts; their digests, and the names of those that are not what their names say."""
    found: dict[str, Kept] = {}
    unsound: list[str] = []
    told, done = time.monotonic(), 0
    for path in artifacts(home):
        name = path.relative_to(home.path)
        try:
            copied = _keep_artifact(path, folder / name, earlier, str(name))
        except FileNotFoundError:
            continue  # a body of a request that was answered meanwhile: nothing names it any more
        if DIGEST.fullmatch(path.name) and copied.sha256 != path.name:
            unsound.append(str(name))
            (folder / name).unlink()
            continue
        found[str(name)], done = copied, done + copied.size
        if time.monotonic() > told + TOLD_EVERY_SECONDS:
            told = time.monotonic()
            say(f"artifacts: {len(found)} files, {done / MIB:.0f} MiB so far")
    return found, unsound


def _keep_artifact(path: Path, target: Path, earlier: tuple[Path, Manifest] | None, name: str) -> Kept:
    """A link to the earlier backup's file where that is still what its name says, which its digest shows."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = earlier is not None and name in earlier[1].files and (earlier[0] / name).is_file()
    linked = kept(earlier[0] / name) if earlier and known else None
    if earlier and linked and linked.sha256 == path.name:
        os.link(earlier[0] / name, target)
        return linked
    return copy(path, target)


def copy(path: Path, target: Path) -> Kept:
    """Copy and take the digest of what was copied, in one reading; the copy is its owner's alone."""
    found, size = hashlib.sha256(), 0
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            found.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return Kept(size, found.hexdigest())


def keep_own_files(home: Home, folder: Path) -> dict[str, Kept]:
    names = [path.relative_to(home.path) for path in own_files(home)]
    return {f"{HOME}/{name}": copy(home.path / name, folder / HOME / name) for name in names}


def put_back(folder: Path, home: Home) -> None:
    """Copy artifacts and own files of a backup into a new home."""
    for path in sorted((folder / ARTIFACTS).rglob("*")):
        if path.is_file():
            copy(path, home.path / path.relative_to(folder))
    for path in sorted((folder / HOME).rglob("*")):
        if path.is_file():
            copy(path, home.path / path.relative_to(folder / HOME))
    (home.path / ARTIFACTS).mkdir(mode=0o700, exist_ok=True)


def settle(folder: Path) -> None:
    """All below is its owner's alone and on disk, by name too, before anything says that the whole is."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o700 if path.is_dir() else 0o600)
        sync(path)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
