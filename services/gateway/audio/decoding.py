"""Files of sound as samples that models take: decoded within limits, of one channel, at a given rate. Pure."""

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from shared.errors import InvalidInput, TooLarge

BYTES: Final = 25 * 1024 * 1024
SECONDS: Final = 600
FORMATS: Final = ("WAV", "WAVEX", "FLAC", "OGG", "MP3")
CHANNELS: Final = 8
RATES: Final = (4_000, 192_000)
BLOCK: Final = 1 << 16
LEAST_SECONDS: Final = 0.01
TOO_LONG: Final = f"file: the sound is longer than {SECONDS} s, the most that is written down at once: divide it"

Samples = NDArray[np.float32]


def decode(content: bytes, rate: int) -> Samples:
    """The samples of a file, FP32 from -1 to 1, channels mixed into one, `rate` a second.

    Raises InvalidInput for what is no sound in a known format, TooLarge for more than 600 s of it.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            _check(file)
            samples = np.concatenate([*_resampled(file, rate)])
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip(" .")[:100]
        raise InvalidInput(f"file: it is no WAV, FLAC, OGG or MP3 that can be read: {reason}", field="file") from None
    if len(samples) < LEAST_SECONDS * rate:
        raise InvalidInput("file: there is no sound in it", field="file")
    return samples


def _check(file: soundfile.SoundFile) -> None:
    """What the file says of itself, before anything is decoded."""
    if file.format not in FORMATS:
        raise InvalidInput(f"file: sound in {file.format} is not read: send WAV, FLAC, OGG or MP3", field="file")
    if not (1 <= file.channels <= CHANNELS and RATES[0] <= file.samplerate <= RATES[1]):
        told = f"{file.channels} channels of {file.samplerate} samples a second"
        message = f"file: it has {told}; 1 to {CHANNELS} of {RATES[0]} to {RATES[1]} are read"
        raise InvalidInput(message, field="file")
    if file.frames > SECONDS * file.samplerate:
        raise TooLarge(TOO_LONG, field="file")


def _resampled(file: soundfile.SoundFile, rate: int) -> Iterator[Samples]:
    """Block by block, never more than is allowed, whatever the file says of its length."""
    stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")
    left, block = SECONDS * file.samplerate, _read(file)
    while len(block):
        left -= len(block)
        if left < 0:
            raise TooLarge(TOO_LONG, field="file")
        following = _read(file)
        yield stream.resample_chunk(block, last=not len(following))
        block = following
    yield np.zeros(0, np.float32)


def _read(file: soundfile.SoundFile) -> Samples:
    """The mean of all channels; what is no number is silence."""
    block: NDArray[Any] = file.read(BLOCK, dtype="float32", always_2d=True)
    mixed: Samples = np.nan_to_num(block.mean(axis=1), posinf=0, neginf=0).clip(-1, 1)
    return mixed
