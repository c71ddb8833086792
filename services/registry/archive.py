"""A version as one file: a zip of model.onnx and manifest.json, both stored as they are.

Reading one trusts nothing: it takes exactly these two members, writes only to paths that the caller names, and
compares digests.
"""

import hashlib
import json
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

MANIFEST, MODEL = "manifest.json", "model.onnx"
FORMAT = "aimass.version/1"
MANIFEST_BYTES = 256 * 1024
DIRECTORY_BYTES = 4096
END = b"PK\x05\x06"
END_BYTES = 22
LOCATOR, LOCATOR_BYTES = b"PK\x06\x07", 20
EPOCH = (1980, 1, 1, 0, 0, 0)


class Malformed(Exception):
    """The file is not an exported version; the message says why."""


def pack(model: Path, facts: dict[str, Any], digest: str, target: Path) -> None:
    """Write the archive; the same version gives the same bytes."""
    files = {MODEL: {"sha256": digest, "size": model.stat().st_size}}
    manifest = {"format": FORMAT, "files": files, "version": facts}
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(MANIFEST), text)
        with model.open("rb") as source, archive.open(_member(MODEL), "w", force_zip64=False) as sink:
            shutil.copyfileobj(source, sink, 1024 * 1024)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def unpack(path: Path, target: Path, most_bytes: int) -> dict[str, Any]:
    """Write the model to the target and return the manifest's facts of the version.

    Raises Malformed; the target holds nothing to rely on then.
    """
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            _check_members(archive.infolist(), most_bytes)
            manifest = _manifest(archive.read(members[MANIFEST]))
            with archive.open(members[MODEL]) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1024 * 1024)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, UnicodeError, ValueError) as error:
        raise Malformed(f"the archive cannot be read: {str(error)[:200]}") from None
    _check_digest(target, manifest)
    facts: dict[str, Any] = manifest["version"]
    return facts


def _check_directory(path: Path) -> None:
    """Read the end record ourselves: a directory of millions of members would fill the memory before we count them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES - LOCATOR_BYTES))
        tail = file.read()
    end = tail[-END_BYTES:]
    if len(end) < END_BYTES or not end.startswith(END) or LOCATOR in tail:
        raise Malformed("this is no exported version: it does not end as such a zip archive does")
    entries, directory = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if entries != 2 or directory > DIRECTORY_BYTES:
        raise Malformed(f"an exported version has two members, {MANIFEST} and {MODEL}; this archive has {entries}")


def _check_members(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    if sorted(info.filename for info in members) != sorted((MANIFEST, MODEL)):
        names = ", ".join(repr(info.filename[:64]) for info in members[:2])
        raise Malformed(f"an exported version has two members, {MANIFEST} and {MODEL}; this archive has {names}")
    for info in members:
        mode = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or mode not in (0, stat.S_IFREG):
            raise Malformed(f"member {info.filename} is no regular file")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise Malformed(f"member {info.filename} is compressed or encrypted; members are stored as they are")
        most = MANIFEST_BYTES if info.filename == MANIFEST else most_bytes
        if info.file_size > most:
            raise Malformed(f"member {info.filename} has {info.file_size} bytes, at most {most} are taken")


def _manifest(text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed(f"{MANIFEST} is no JSON document") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Malformed(f"{MANIFEST} does not say that its format is {FORMAT}")
    if not isinstance(manifest.get("version"), dict):
        raise Malformed(f"{MANIFEST} says nothing of the version")
    return manifest


def _check_digest(model: Path, manifest: dict[str, Any]) -> None:
    with model.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        expected = manifest["files"][MODEL]["sha256"]
    except (KeyError, TypeError):
        raise Malformed(f"{MANIFEST} does not name the digest of {MODEL}") from None
    if found != expected:
        raise Malformed(f"{MODEL} does not match its digest in {MANIFEST}: the archive was altered")
