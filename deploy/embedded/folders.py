"""Private folders with short names, for what cannot lie in the state folder."""

import os
from pathlib import Path

SHORT = Path("/tmp")  # noqa: S108


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
