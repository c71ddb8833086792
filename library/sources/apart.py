"""Programs with an environment of their own, made at first use in the cache of data from a lock beside them."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from library.base import Declaration
from library.sources.archives import DataUnavailable, Tell, cache, locked
from shared.environments import Unavailable, environment, reason
from shared.environments import locked as locked_version

LOCK = "requirements.txt"


class Apart(Declaration):
    """Scripts of a folder, run by a Python that has what the folder's lock names; `package` is the one it is for."""

    inside: Path
    package: str
    megabytes: int

    @property
    def lock(self) -> Path:
        return self.inside / LOCK

    def python(self, tell: Tell = lambda _: None) -> Path:
        """Its Python, made where it is missing; raises DataUnavailable that says why it cannot be."""
        home = cache() / f"{self.package}-{locked_version(self.lock, self.package)}"
        with locked(home.with_name(f"{home.name}.making")):
            if not (home / "installed.sha256").exists():
                tell(f"making an environment for {self.package}, {self.megabytes} MB to fetch")
            try:
                return environment(home, self.lock)
            except Unavailable as error:
                raise DataUnavailable(
                    f"{self.package} cannot be used: {error}. Try again with the registry in reach"
                ) from error

    @contextmanager
    def started(self, script: str, *arguments: str, tell: Tell = lambda _: None) -> Iterator[subprocess.Popen[str]]:
        """A script with pipes to it; raises DataUnavailable with its last words where it fails."""
        command = [str(self.python(tell)), "-E", "-s", "-B", str(self.inside / script), *arguments]
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "words").open("w+b") as words:
            own = {"HOME": folder, "XDG_RUNTIME_DIR": folder, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                env={"PATH": os.environ.get("PATH", "")} | own,
            )
            with process:
                try:
                    yield process
                except BaseException:
                    process.kill()
                    raise
            if process.returncode:
                words.seek(0)
                said = subprocess.CalledProcessError(process.returncode, command, stderr=words.read())
                raise DataUnavailable(f"{script} of {self.package} failed: {reason(said)}")
