"""Runs what lies in `inside/`, in an environment of its own that is made at first use in the cache of data."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from library.base import Declaration
from library.sources.archives import DataUnavailable, Tell, cache, locked
from shared.environments import Unavailable, environment, reason
from shared.environments import locked as locked_version
from shared.names import Digest

if TYPE_CHECKING:
    from library.base import Arrays

INSIDE: Final = Path(__file__).parent / "inside"
LOCK: Final = INSIDE / "requirements.txt"
MEGABYTES: Final = 67
TOLD_EVERY: Final = 10


def python(tell: Tell = lambda _: None) -> Path:
    """The simulator's Python, made where it is missing; raises DataUnavailable that says why it cannot be."""
    home = cache() / f"highway-env-{locked_version(LOCK, 'highway-env')}"
    with locked(home.with_name(f"{home.name}.making")):
        if not (home / "installed.sha256").exists():
            tell(f"making the simulator's environment, {MEGABYTES} MB to fetch")
        try:
            return environment(home, LOCK)
        except Unavailable as error:
            raise DataUnavailable(
                f"highway-env cannot be used: {error}. Try again with the registry in reach"
            ) from error


@contextmanager
def started(script: str, *arguments: str, tell: Tell = lambda _: None) -> Iterator[subprocess.Popen[str]]:
    """A script of `inside/` with pipes to it; raises DataUnavailable with its last words where it fails."""
    command = [str(python(tell)), "-E", "-s", "-B", str(INSIDE / script), *arguments]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "words").open("w+b") as words:
        told = {"PATH": os.environ.get("PATH", ""), "HOME": folder, "XDG_RUNTIME_DIR": folder, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True, env=told
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
            raise DataUnavailable(f"{script} of the simulator failed: {reason(said)}")


class Roads(Declaration):
    """What happened on roads of these seeds, simulated here: `sha256` is what the packed arrays must be."""

    first: int
    count: int
    pictures: bool = False
    sha256: Digest

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return cache() / self.sha256[:16] / "roads.npz"

    def fetch(self, tell: Tell = lambda _: None) -> Path:
        """The file in the cache, simulated where it is missing; two processes simulate it once."""
        if not self.path.is_file():
            with locked(self.path.parent):
                if not self.path.is_file():
                    self._simulate(tell)
        return self.path

    def read(self) -> "Arrays":
        from library.files import unpack

        return unpack(self.fetch())

    def _simulate(self, tell: Tell) -> None:
        from library.files import pack, unpack, write_atomically

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "roads.npz"
            asked = (str(file), str(self.first), str(self.count), str(int(self.pictures)))
            with started("record.py", *asked, tell=tell) as process:
                for done in process.stdout or ():
                    if int(done) % TOLD_EVERY == 0:
                        tell(f"simulating roads {self.first} to {self.first + self.count - 1}: {int(done)} are done")
            content = pack(unpack(file))
        if (digest := sha256(content).hexdigest()) != self.sha256:
            raise DataUnavailable(
                f"roads {self.first} to {self.first + self.count - 1}, simulated here, have the digest {digest}, not "
                f"{self.sha256}: this machine counts otherwise. Put a roads.npz made elsewhere into {self.path.parent}"
            )
        write_atomically(self.path, content)


if __name__ == "__main__":
    print(python(lambda message: print(message, file=sys.stderr)))
