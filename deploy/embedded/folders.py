"""Private folders with short names, for what cannot lie in the state folder."""

import os
import re
from hashlib import sha256
from pathlib import Path

SHORT = Path("/tmp")  # noqa: S108
PLAIN = re.compile(r"[A-Za-z0-9_./-]+")


class UnsafeFolder(Exception):
    """A folder that should be ours alone belongs to somebody else."""


def short_folder(name: str) -> Path:
    """Make a folder in a place that others may write to, and trust it only if it is ours alone."""
    path = SHORT / f"aimass-{os.geteuid()}-{name}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise UnsafeFolder(f"{path} is not a private folder of this user: remove it")
    return path


def digest(path: Path) -> str:
    return sha256(os.fsencode(path)).hexdigest()[:16]


def plain_path(path: Path) -> Path:
    """The path, or a link to it when it holds what a shell would take apart: Triton starts its stub without quotes."""
    if PLAIN.fullmatch(str(path)):
        return path
    link = short_folder(digest(path)) / "link"
    if not link.is_symlink() or link.readlink() != path:
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return link
