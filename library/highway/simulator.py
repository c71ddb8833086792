"""Runs what lies in `inside/`, in an environment of its own that is made at first use in the cache of data."""

import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from library.base import Declaration
from library.sources.apart import Apart
from library.sources.archives import DataUnavailable, Tell, cache, locked
from shared.names import Digest

if TYPE_CHECKING:
    from library.base import Arrays

INSIDE: Final = Path(__file__).parent / "inside"
TOLD_EVERY: Final = 10
ROADS: Final = Apart(inside=INSIDE, package="highway-env", megabytes=67)
python, started = ROADS.python, ROADS.started


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
