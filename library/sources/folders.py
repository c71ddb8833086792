"""Folders of pictures in a zip that somebody brings: a folder's name is the label of what lies in it."""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from library.base import DataSet, Feature, Part
from shared.errors import AimassError
from shared.images import BadImage, Layout, NoImage, layout_of, numbers_of
from shared.tables.values import Unfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

KINDS: Final = ("PNG", "JPEG", "WEBP")
MOST_FILES: Final = 200_000
MOST_FILE_BYTES: Final = 16 * 1024**2
MOST_BYTES: Final = 4 * 1024**3
MOST_ARRAY_BYTES: Final = 2 * 1024**3
SIDE_FILES: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")
PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError)
WAY: Final = "put pictures into folders named by their labels, these into train, validation and test if you like"


def is_folder(path: Path) -> bool:
    """Whether the file is a zip of anything but NumPy's arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not all(name.endswith(".npy") for name in archive.namelist())


def read_pictures(path: Path, like: DataSet) -> "tuple[Arrays, NDArray[Any] | None]":
    """All pictures in the order of their names, and the part of each where the folders name parts.

    Nothing is unpacked to disk. Raises Unfit that names the file in the archive, and says what is wrong with it.
    """
    feature, layout = _picture_of(like)
    try:
        with zipfile.ZipFile(path) as archive:
            files = _places(_sound(archive), like)
            pictures = _pictures(archive, [file for file, _, _ in files], feature, layout)
    except BROKEN as error:
        raise Unfit(f"the zip is broken: {str(error)[:200]}") from None
    labels = np.array([label for _, _, label in files], "<i8")
    marks = np.array([part for _, part, _ in files]) if files[0][1] else None
    return {feature.name: pictures, like.schema.target.name: labels}, marks


def _picture_of(like: DataSet) -> tuple[Feature, Layout]:
    feature = like.schema.features[0]
    layout = layout_of(feature)
    if len(like.schema.features) > 1 or layout is None or not like.labels or -1 in feature.shape:
        raise Unfit(f"this is a zip of files, but '{like.name}' holds no pictures with labels: bring rows")
    return feature, layout


def _sound(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files to be read, by name, after all were looked at: nothing of a zip that is unsound is read."""
    infos = [info for info in archive.infolist() if not info.is_dir() and not _is_aside(info.filename)]
    if len(infos) > MOST_FILES:
        raise Unfit(f"the zip holds {len(infos)} files, more than {MOST_FILES}: bring fewer")
    if not infos:
        raise Unfit(f"the zip holds no files: {WAY}")
    for info in infos:
        if reason := _fault(info):
            raise Unfit(f"{_shown(info)} {reason}")
    if (size := sum(info.file_size for info in infos)) > MOST_BYTES:
        raise Unfit(f"the files of the zip have {size >> 20} MiB unpacked, more than {MOST_BYTES >> 20}: bring fewer")
    if len({info.filename for info in infos}) < len(infos):
        raise Unfit("two files of the zip have one name: give each its own")
    return sorted(infos, key=lambda info: info.filename)


def _is_aside(name: str) -> bool:
    """What programs leave beside people's files."""
    steps = PurePosixPath(name).parts
    return bool(steps) and (steps[0] in SIDE_FILES or steps[-1] in SIDE_FILES or steps[-1].startswith("._"))


def _fault(info: zipfile.ZipInfo) -> str:
    name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or "\\" in name or ".." in name.split("/") or ":" in name.split("/")[0]:
        return "leads out of the archive: name files by the folders within it"
    if kind and not stat.S_ISREG(kind):
        return "is a link or a device: put the picture itself there"
    if info.flag_bits & 1:
        return "is encrypted: pack it without a password"
    if info.compress_type not in PACKED:
        return "is packed in an unusual way: pack it as ordinary zip (deflate)"
    if info.file_size > MOST_FILE_BYTES:
        return f"has {info.file_size >> 20} MiB, more than the {MOST_FILE_BYTES >> 20} of a picture"
    return ""


def _places(infos: list[zipfile.ZipInfo], like: DataSet) -> list[tuple[zipfile.ZipInfo, str, int]]:
    """Of each file its part ('' without parts) and the number of its label."""
    ways = [PurePosixPath(info.filename).parts[:-1] for info in infos]
    known = {label: number for number, label in enumerate(like.labels)}
    known |= {str(number): number for number in range(len(like.labels)) if str(number) not in known}
    if len({way[:1] for way in ways}) == 1 and ways[0] and ways[0][0] not in {*known, *Part}:
        ways = [way[1:] for way in ways]
    divided = any(way and way[0] in set(Part) for way in ways) and not set(Part) & set(known)
    found = []
    for info, way in zip(infos, ways, strict=True):
        part, rest = (way[0] if way else "", way[1:]) if divided else ("", way)
        if divided and part not in set(Part):
            raise Unfit(f"{_shown(info)} lies in none of the folders train, validation and test, as others do")
        if not rest or rest[0] not in known:
            where = f"lies in '{rest[0][:40]}'" if rest else "lies in no folder"
            raise Unfit(f"{_shown(info)} {where}, which is none of {', '.join(map(repr, like.labels[:12]))}: {WAY}")
        found.append((info, part, known[rest[0]]))
    return found


def _pictures(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], feature: Feature, layout: Layout
) -> "NDArray[Any]":
    first = next(_each(archive, infos[:1], feature, layout))
    if first.nbytes * len(infos) > MOST_ARRAY_BYTES:
        raise Unfit(f"the pictures take more than {MOST_ARRAY_BYTES >> 20} MiB as arrays: bring fewer")
    found = np.empty((len(infos), *first.shape), first.dtype)
    for number, picture in enumerate(_each(archive, infos, feature, layout)):
        found[number] = picture
    return found


def _each(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], feature: Feature, layout: Layout
) -> "Iterator[NDArray[Any]]":
    for info in infos:
        with archive.open(info) as file:
            body = file.read(MOST_FILE_BYTES + 1)
        if len(body) > MOST_FILE_BYTES:
            raise Unfit(f"{_shown(info)} has more bytes than it says")
        try:
            yield numbers_of(body, KINDS, feature, layout)
        except NoImage:
            what = "an archive: unpack it" if zipfile.is_zipfile(io.BytesIO(body)) else f"no {' or '.join(KINDS)} image"
            raise Unfit(f"{_shown(info)} is {what}") from None
        except BadImage as bad:
            raise Unfit(f"{_shown(info)} is {bad.message}") from None
        except AimassError as error:
            raise Unfit(f"{_shown(info)}: {error.message}") from None


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.filename[:100])
