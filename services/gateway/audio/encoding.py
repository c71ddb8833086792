"""Samples as files of sound, part by part, so that they can be heard before all are made."""

import io
import struct
from typing import Any, Final, Literal

import soundfile
import soxr

from services.gateway.audio.decoding import Samples
from shared.sound import SPEAKING_RATE

Format = Literal["mp3", "opus", "flac", "wav", "pcm"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
CONTAINERS: Final[dict[Format, tuple[str, str]]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}
RATES: Final[dict[Format, int]] = {"opus": 24_000, "pcm": 24_000}
"""Opus knows no 22,050, and clients take bare samples for 24,000 a second."""
UNKNOWN: Final = 0xFFFFFFFF
MP3_LENGTH: Final = b"Info"
"""Marks a count of frames, which is wrong in a file that is sent before it ends: a reader without one counts itself."""
STEADY: Final[dict[str, Any]] = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
"""Else readers cannot tell from a part how long the whole is."""
PCM_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")


class Encoder:
    """One file: what `add` returns, one part after another."""

    def __init__(self, form: Format, is_whole: bool) -> None:
        self._form, self._is_whole = form, is_whole
        self._rate = RATES.get(form, SPEAKING_RATE)
        self._resampler = soxr.ResampleStream(SPEAKING_RATE, self._rate, 1, dtype="float32")
        self._sink, self._sent, self._begun = io.BytesIO(), 0, False
        if form in CONTAINERS:
            container, subtype = CONTAINERS[form]
            steady = STEADY if form == "mp3" else {}
            self._file = soundfile.SoundFile(self._sink, "w", self._rate, 1, subtype, format=container, **steady)

    def add(self, samples: Samples, *, is_last: bool) -> bytes:
        """The next part of the file; with `is_whole` the first is the only one, and a WAV says how long it is."""
        found = samples if self._rate == SPEAKING_RATE else self._resampler.resample_chunk(samples, last=is_last)
        if self._form in CONTAINERS:
            self._file.write(found)
            if is_last:
                self._file.close()
            return self._fresh(is_last=is_last)
        content = (found.clip(-1, 1) * 32767).astype("<i2").tobytes()
        return self._header(len(content)) + content

    def _fresh(self, *, is_last: bool) -> bytes:
        """What was written since; FLAC comes at the end, as its readers ask how long it is at the beginning."""
        if self._form == "flac" and not is_last:
            return b""
        content = self._sink.getvalue()
        fresh, self._sent = content[self._sent :], len(content)
        if self._form == "mp3" and not self._is_whole and not self._begun and fresh:
            self._begun = True
            return fresh.replace(MP3_LENGTH, bytes(len(MP3_LENGTH)), 1)
        return fresh

    def _header(self, size: int) -> bytes:
        if self._form != "wav" or self._begun:
            return b""
        self._begun = True
        whole, part = (size + 36, size) if self._is_whole else (UNKNOWN, UNKNOWN)
        kind = (b"WAVE", b"fmt ", 16, 1, 1, self._rate, 2 * self._rate, 2, 16)
        return PCM_HEADER.pack(b"RIFF", whole, *kind, b"data", part)
