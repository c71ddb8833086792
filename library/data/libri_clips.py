"""Short clips of English speech with what is said in them: five of a novel, five of cards."""

import io
import re
import wave
from typing import TYPE_CHECKING, Any

from library.base import DataSet, Feature, Part, Schema
from library.sources.archives import Archive, Registry
from shared.sound import HEARING_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from library.base import Arrays

FOLDER = "usr/share/pocketsphinx/test/data/"
NOVEL, CARDS = f"{FOLDER}librivox/transcription", f"{FOLDER}cards/cards.transcription"
HEARD = f"{FOLDER}librivox/test-lm.match"
LINE = re.compile(r"(?:<s> )?(.*?) *(?:</s> )?\(([\w-]+)[^()]*\)")
FULL_SCALE = 32768


class LibriClips(DataSet):
    """Five clips of LibriVox's Sense and Sensibility are the test part; ten words or less of cards are the others."""

    name = "libri-clips"
    source = "the test data of PocketSphinx 5prealpha, as Debian ships it; the novel is read by LibriVox"
    licence = "BSD-2-Clause (of the package); LibriVox recordings are in the public domain"
    schema = Schema(
        features=(
            Feature(
                name="audio",
                datatype="FP32",
                shape=(-1,),
                minimum=-1,
                maximum=1,
                description="16,000 samples a second, one channel; zeros after the end",
            ),
        ),
        target=Feature(name="text", datatype="BYTES", description="what is said, in small letters"),
    )
    archives = (
        Archive(
            registry=Registry.DEBIAN,
            package="pocketsphinx-testdata",
            version="0.8+5prealpha+1-15",
            file="pocketsphinx-testdata_0.8+5prealpha+1-15_all.deb",
            sha256="eaeb7a01d54f20b799d1a81ef110ec544b2cb47ea006614078220737a33019f0",
            size=1_822_580,
        ),
    )

    def load(self) -> "Arrays":
        import numpy as np

        files = dict(self.archives[0].members(FOLDER))
        lines = [(path.rpartition("/")[0], *line) for path in (NOVEL, CARDS) for line in _lines(files[path])]
        clips = [_samples(files[f"{folder}/{name}.wav"]) for folder, _, name in lines]
        audio = np.zeros((len(clips), max(map(len, clips))), "<f4")
        for row, clip in zip(audio, clips, strict=True):
            row[: len(clip)] = clip
        return {"audio": audio, "text": np.array([text.encode() for _, text, _ in lines], "S")}

    def parts(self) -> "dict[Part, Arrays]":
        items = self.load()
        places = {Part.TRAIN: slice(5, 8), Part.VALIDATION: slice(8, 10), Part.TEST: slice(0, 5)}
        return {part: {name: column[place] for name, column in items.items()} for part, place in places.items()}

    def heard_by_pocketsphinx(self) -> dict[str, str]:
        """What that recogniser made of the novel, by what is said."""
        files = dict(self.archives[0].members(f"{FOLDER}librivox"))
        heard = {name: text for text, name in _lines(files[HEARD])}
        return {text: heard[name] for text, name in _lines(files[NOVEL])}


def _lines(content: bytes) -> list[tuple[str, str]]:
    """Text and name of each clip."""
    found = (LINE.fullmatch(line) for line in content.decode().splitlines())
    return [(match[1], match[2]) for match in found if match]


def _samples(content: bytes) -> "NDArray[Any]":
    import numpy as np

    with wave.open(io.BytesIO(content)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (HEARING_RATE, 1, 2)
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype("<f4") / FULL_SCALE
