"""The state folder of one stack: where everything lies, and what is chosen once and kept."""

import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.embedded.folders import digest, short_folder
from deploy.embedded.launch import write_private
from deploy.embedded.ports import preferred_or_free
from deploy.embedded.servers import BUS_SPACE
from deploy.machine import GIB

SOCKET_PATH_LIMIT = 100
WRITE_AHEAD_SPACE = GIB // 4
RESERVE = GIB // 2


@dataclass(frozen=True)
class Home:
    """Paths below the state folder."""

    path: Path

    def folder(self, *names: str) -> Path:
        """The folder below the state folder, made for its owner only when it is missing."""
        path = self.path
        for name in ("", *names):
            path = path / name
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def stack_file(self) -> Path:
        return self.path / "stack.json"

    @property
    def lock_file(self) -> Path:
        return self.folder() / "lock"

    @property
    def endpoints_file(self) -> Path:
        return self.folder("run") / "endpoints.json"

    @property
    def provisioned_file(self) -> Path:
        """Stands there once the admin step was done for the process manager that runs."""
        return self.folder("run") / "provisioned"

    @property
    def processes_file(self) -> Path:
        return self.folder("run") / "processes.json"

    @property
    def manager_config(self) -> Path:
        return self.folder("run") / "supervisord.conf"

    @property
    def cluster(self) -> Path:
        return self.folder("postgres") / "data"

    @property
    def admin_key_file(self) -> Path:
        return self.path / "admin.key"

    @property
    def extension_file(self) -> Path:
        return self.path / "extension.json"

    @property
    def members(self) -> Path:
        """Where wheels that bring members of the library are installed, so that .venv stays as it is locked."""
        return self.path / "members"

    def launch_file(self, part: str) -> Path:
        return self.folder("run", "launch") / f"{part}.json"

    def start_marker(self, part: str) -> Path:
        return self.folder("run", "started") / part

    def log(self, part: str) -> Path:
        return self.folder("logs") / f"{part}.log"

    @property
    def socket(self) -> Path:
        """The control socket; a long path does not fit a socket's address, so a short folder stands in."""
        preferred = self.folder("run") / "supervisor.sock"
        if len(str(preferred)) <= SOCKET_PATH_LIMIT:
            return preferred
        return short_folder(digest(self.path)) / "supervisor.sock"

    def space_needed(self) -> int:
        """Free disk for what the servers may grow by within their limits, and a reserve for all else."""
        stored, written_ahead = size(self.path / "nats"), size(self.path / "postgres" / "data" / "pg_wal")
        return max(0, BUS_SPACE - stored) + max(0, WRITE_AHEAD_SPACE - written_ahead) + RESERVE

    def secrets(self, names: Iterable[str]) -> dict[str, str]:
        """Random secrets by name, made once and kept."""
        path = self.folder() / "secrets.json"
        kept = read_json(path)
        wanted = {name: kept.get(name) or secrets.token_hex(24) for name in names}
        if wanted.keys() - kept.keys():
            write_private(path, json.dumps(kept | wanted, indent=1))
        return wanted

    def kept_ports(self) -> dict[str, int]:
        """The ports of this run or the last."""
        return read_json(self.folder() / "ports.json")

    def choose_ports(self, wanted: dict[str, int | None]) -> dict[str, int]:
        """The ports of an earlier run, or else those wanted, wherever they are free; others otherwise."""
        kept = self.kept_ports()
        chosen = {name: preferred_or_free(kept.get(name, port)) for name, port in wanted.items()}
        write_private(self.folder() / "ports.json", json.dumps(chosen, indent=1))
        return chosen


def size(folder: Path) -> int:
    """Bytes in all files below a folder, nothing when there is none."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, an empty one when there is no file."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content
