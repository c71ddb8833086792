"""The first thing of ours in a process of Ray's: it brings the code there and hands over to it.

It is sent as it stands, so it imports nothing of the platform until the code is there.
"""

import io
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import ray


class Foothold:
    """One task on a node; the node has Ray and the packages of the platform, and nothing else of it."""

    def __init__(self) -> None:
        self._agent: Any = None

    def begin(self, digest: str, code: list[Any], order: dict[str, Any], files: dict[str, list[Any]]) -> str:
        """Start the module of the order on its files; the address of the node, at which other workers find it."""
        root = _own_folder()
        place = root / f"code-{digest}"
        if not place.is_dir():
            _unpack(ray.get(code[0]), place)
        sys.path.insert(0, str(place))
        from services.trainer.on_ray.agent import Agent

        address = str(ray.util.get_node_ip_address())
        if order["spec"].get("seat"):
            order["spec"]["seat"]["host"] = address
        self._agent = Agent(root)
        self._agent.begin(order, {name: list(map(ray.get, pieces)) for name, pieces in files.items()})
        return address

    def next(self) -> list[tuple[Any, ...]]:
        """What has come of it since; nothing after a second in which nothing came."""
        found: list[tuple[Any, ...]] = self._agent.next()
        return found


def _own_folder() -> Path:
    """A folder of this user alone, for code and work."""
    folder = Path(tempfile.gettempdir()) / f"aimass-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    return folder


def _unpack(archive: bytes, place: Path) -> None:
    """As a whole or not at all; another process may do the same."""
    draft = Path(tempfile.mkdtemp(dir=place.parent))
    zipfile.ZipFile(io.BytesIO(archive)).extractall(draft)
    try:
        draft.rename(place)
    except OSError:
        shutil.rmtree(draft)
        if not place.is_dir():
            raise
