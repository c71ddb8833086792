"""What a voice says to given letters of sound, made once and kept in the cache of data."""

from collections.abc import Callable
from functools import cache as once
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from library.base import Declaration
from library.members.tts_voice import FILE, VOICE, TtsVoice
from library.sources.archives import cache, locked

if TYPE_CHECKING:
    from library.base import Arrays
    from library.graphs.teacher import Teacher

MAKER: Final = "1"
"""To be raised with whatever changes what is made of the same voice and the same letters."""
TOLD_EVERY: Final = 25


class Lessons(Declaration):
    """Letters of sound as tts-voice says them. The file's name is the digest of what it is made from: processors differ
    in last bits, so that of what is made could not be foretold; that of the data set says which it was.
    """

    phonemes: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        made_from = "\n".join([MAKER, VOICE.sha256, *self.phonemes])
        return cache() / sha256(made_from.encode()).hexdigest()[:16] / "said.npz"

    def fetch(self, tell: Callable[[int], None] = lambda _: None) -> Path:
        """The file in the cache, made where it is missing, by one process at a time; `tell` hears how many are said."""
        if not self.path.is_file():
            with locked(self.path.parent):
                if not self.path.is_file():
                    self._make(tell)
        return self.path

    def read(self) -> "Arrays":
        """Lengths [items, letters + 2] and sound [items, frames, 82]."""
        from library.files import unpack

        return unpack(self.fetch())

    def _make(self, tell: Callable[[int], None]) -> None:
        from library.files import pack, write_atomically
        from library.graphs.front import joined

        said = []
        for number, letters in enumerate(self.phonemes):
            if number % TOLD_EVERY == 0:
                tell(number)
            said.append(_teacher().say(letters.encode()))
        columns = {"lengths": [one.lengths[None] for one in said], "sound": [one.sound[None] for one in said]}
        write_atomically(self.path, pack({name: joined(arrays) for name, arrays in columns.items()}))


@once
def _teacher() -> "Teacher":
    """Read once a process."""
    from library.graphs.teacher import Teacher

    return Teacher(VOICE.read(FILE), TtsVoice().front())
