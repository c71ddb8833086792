"""The spectrum that is part of a graph is that of a Fourier transform."""

import numpy as np
import torch

from library.networks.spectra import LogMel, mel_filters


def test_bands_cover_all_frequencies_once_and_are_of_equal_area() -> None:
    filters = mel_filters(16_000, 400, 80)
    assert filters.shape == (80, 201)
    assert (filters >= 0).all()
    peaks = filters.argmax(axis=1)
    assert (np.diff(peaks) >= 0).all()
    np.testing.assert_allclose(filters[40:].sum(axis=1) * 40, 1, atol=0.1)  # 40 Hz a bin


def test_the_spectrum_is_that_of_whisper() -> None:
    audio = np.random.RandomState(0).standard_normal(16_000).astype("f4") * 0.1
    padded = np.pad(np.pad(audio, (0, 16_000)), 200, mode="reflect")
    hann = np.hanning(401)[:-1]
    frames = np.stack([padded[start : start + 400] * hann for start in range(0, 32_000, 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    level = np.log10(np.maximum(mel_filters(16_000, 400, 80) @ power.T, 1e-10))
    expected = (np.maximum(level, level.max() - 8) + 4) / 4
    found = LogMel(16_000, 2)(torch.from_numpy(audio)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
