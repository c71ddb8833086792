"""Sentences of plain English with the sounds of their words: what a voice reads, and is judged by."""

import html
import re
from typing import TYPE_CHECKING, Final

from library.base import DataSet, Feature, Part, Schema
from library.data.declarations import Declarations

if TYPE_CHECKING:
    from library.base import Arrays

FILE: Final = "package/declaration/eng.html"
PARAGRAPH: Final = re.compile(r"<(?:p|li)>(.*?)</(?:p|li)>", re.DOTALL)
PIECE: Final = re.compile(r"(?<=[.;])\s+|(?<=,)\s+(?=and (?:no|the|to)\b)")
TESTED: Final = 50
VALIDATED: Final = 2
WORDS: Final = (6, 27)


class Sentences(DataSet):
    """Sentences, and parts of long ones, of the Declaration of Human Rights: 50 of 6 to 27 words test."""

    name = "sentences"
    source = Declarations.source
    licence = Declarations.licence
    schema = Schema(
        features=(
            Feature(name="phonemes", datatype="BYTES", description="the sentence in letters of sound (IPA); UTF-8"),
            Feature(name="speed", datatype="FP32", minimum=0.25, maximum=4, description="1 is the voice's own"),
        ),
        target=Feature(name="text", datatype="BYTES", description="the sentence; UTF-8"),
    )
    archives = Declarations.archives

    def load(self) -> "Arrays":
        import numpy as np

        from shared.phonemes import all_at_once

        texts = self._texts()
        sounds = [" ".join(found) for found in all_at_once(texts)]
        return {
            "phonemes": np.array([sound.encode() for sound in sounds], "S"),
            "speed": np.ones(len(texts), "<f4"),
            "text": np.array([text.encode() for text in texts], "S"),
        }

    def parts(self) -> "dict[Part, Arrays]":
        """The first that are short enough test; two validate; nothing is learnt of the others."""
        import numpy as np

        items = self.load()
        lengths = np.array([len(text.split()) for text in items["text"]])
        fit, short = (lengths >= WORDS[0]) & (lengths <= WORDS[1]), lengths < WORDS[0]
        tested = np.flatnonzero(fit)[:TESTED]
        others = np.setdiff1d(np.arange(len(lengths)), [*tested, *np.flatnonzero(short)])
        others = others[np.argsort(lengths[others], kind="stable")]
        places = {Part.TRAIN: others[VALIDATED:], Part.VALIDATION: others[:VALIDATED], Part.TEST: tested}
        return {part: {name: column[place] for name, column in items.items()} for part, place in places.items()}

    def _texts(self) -> list[str]:
        page = html.unescape(self.archives[0].read(FILE).decode())
        paragraphs = (re.sub(r"<[^>]*>|\s+", " ", found).strip() for found in PARAGRAPH.findall(page))
        plain = (text.replace("\u2010", "-") for text in paragraphs)
        return [piece.strip() for text in plain for piece in PIECE.split(text)]
