"""Frames of speech, 86 a second: how loud each mel band is, how high the voice and how clear, a byte each."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from library.networks.spectra import mel_filters
from shared.sound import SPEAKING_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

HOP: Final = 256
WINDOW: Final = 1024
AROUND: Final = (WINDOW - HOP) // 2
BANDS: Final = 80
PITCH, CLEARNESS = BANDS, BANDS + 1
WIDTH: Final = BANDS + 2
QUIETEST: Final = -9.2
LOUDNESS_STEPS: Final = 20.0
LOWEST_HERTZ: Final = 50.0
PITCH_STEPS: Final = 100.0
MOST: Final = 255
LAGS: Final = (SPEAKING_RATE // 180, SPEAKING_RATE // 60)
VOICED: Final = 0.5
NEARLY: Final = 0.9
MONOTONE: Final = 110.0


def frames_of(samples: "Array") -> "NDArray[np.uint8]":
    """Samples [256 n] to frames [n, 82]: 80 bands (0 is e^-9.2, 20 steps to the factor e), pitch (0 is 50 Hz, 100 steps
    an octave), clearness of the voice (255 steps).
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples.astype("f8"), AROUND), WINDOW)[::HOP]
    hertz, clear = pitch(windows)
    spectrum = np.abs(np.fft.rfft(windows * _hann(WINDOW)))
    bands = np.log((spectrum @ mel_filters(SPEAKING_RATE, WINDOW, BANDS).T).clip(1e-9))
    levels = [(bands - QUIETEST) * LOUDNESS_STEPS, np.log2(hertz / LOWEST_HERTZ)[:, None] * PITCH_STEPS]
    return np.concatenate([*levels, clear[:, None] * MOST], axis=1).round().clip(0, MOST).astype("u1")


def pitch(windows: "Array") -> "tuple[Array, Array]":
    """Hertz and clearness, 0 to 1, of windows [n, 1024] by autocorrelation; where there is no voice the pitch goes
    straight from that before to that after.
    """
    likeness = _likeness(windows - windows.mean(axis=1, keepdims=True))[:, LAGS[0] : LAGS[1]]
    lags, clear = _first_peaks(likeness)
    clear = clear.clip(0, 1)
    voiced = np.flatnonzero(clear > VOICED)
    if len(voiced) == 0:
        return np.full(len(windows), MONOTONE), clear
    octaves = np.interp(np.arange(len(windows)), voiced, np.log2(SPEAKING_RATE / lags[voiced]))
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(octaves, 2, mode="edge"), 5), axis=1)
    return 2**smooth, clear


def _likeness(windows: "Array") -> "Array":
    """How like itself each window is when moved, by lag: 1 if it repeats."""
    hann = _hann(WINDOW)
    own, of_window = (
        np.fft.irfft(np.abs(np.fft.rfft(values, 2 * WINDOW)) ** 2)[..., :WINDOW] for values in (windows * hann, hann)
    )
    found: Array = own / own[:, :1].clip(1e-6) * (of_window[0] / of_window.clip(1e-9))
    return found


def _first_peaks(likeness: "Array") -> "tuple[Array, Array]":
    """The least lag at which it is nearly as high as anywhere, with a parabola between lags, and how high it is."""
    here, before, after = likeness[:, 1:-1], likeness[:, :-2], likeness[:, 2:]
    peaks = (here > before) & (here >= after) & (here > NEARLY * likeness.max(axis=1, keepdims=True))
    chosen = np.where(peaks.any(axis=1), peaks.argmax(axis=1), here.argmax(axis=1))[:, None]
    low, top, high = (np.take_along_axis(values, chosen, axis=1)[:, 0] for values in (before, here, after))
    bend = np.minimum(low - 2 * top + high, -1e-9)
    return chosen[:, 0] + 1 + LAGS[0] + (0.5 * (low - high) / bend).clip(-0.5, 0.5), top


def _hann(size: int) -> "Array":
    found: Array = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return found
