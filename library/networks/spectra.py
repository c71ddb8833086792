"""Spectra of sound as layers, so that they become part of a served graph: samples in, logarithms of mel bands out."""

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINEAR_TO: Final = 1000.0
HERTZ_A_MEL: Final = 200 / 3
GROWTH: Final = math.log(6.4) / 27


class LogMel(nn.Module):
    """Samples [batch, n] to [batch, bands, frames]: Whisper's spectrum of the first `seconds`, shorter ones padded.

    A convolution with sines and cosines is the Fourier transform (Radford et al., Robust Speech Recognition via
    Large-Scale Weak Supervision, 2022, section 2.2).
    """

    def __init__(self, rate: int, seconds: int, window: int = 400, hop: int = 160, bands: int = 80) -> None:
        super().__init__()
        self.samples, self.window, self.hop = rate * seconds, window, hop
        self.waves: Tensor
        self.filters: Tensor
        self.register_buffer("waves", torch.from_numpy(waves(window)), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(rate, window, bands)), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        padded = functional.pad(audio, (0, self.samples))[:, None, : self.samples]
        around = functional.pad(padded, (self.window // 2, self.window // 2), mode="reflect")
        spectrum = functional.conv1d(around, self.waves, stride=self.hop)[..., :-1]
        real, imaginary = spectrum.chunk(2, dim=1)
        power = self.filters @ (real.square() + imaginary.square())
        level = power.clamp(min=1e-10).log10()
        loudest = level.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(level, loudest - 8) + 4) / 4


def waves(window: int) -> "NDArray[np.float32]":
    """Cosines, then sines, of each frequency under a Hann window: [window + 2, 1, window]."""
    times = np.arange(window)
    angles = 2 * np.pi * np.outer(np.arange(window // 2 + 1), times) / window
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * times / window)
    found: NDArray[np.float32] = (np.concatenate([np.cos(angles), np.sin(angles)]) * hann).astype("<f4")[:, None]
    return found


def mel_filters(rate: int, window: int, bands: int) -> "NDArray[np.float32]":
    """Triangles of equal area, evenly spread on Slaney's mel scale from 0 to half the rate: [bands, window / 2 + 1]."""
    edges = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    widths = np.diff(edges)
    rising = (frequencies - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - frequencies) / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters: NDArray[np.float32] = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype("<f4")
    return filters


def _mel(hertz: float) -> float:
    return (LINEAR_TO + HERTZ_A_MEL * math.log(hertz / LINEAR_TO) / GROWTH) / HERTZ_A_MEL


def _hertz(mels: "NDArray[Any]") -> "NDArray[Any]":
    linear, start = mels * HERTZ_A_MEL, LINEAR_TO / HERTZ_A_MEL
    return np.where(mels < start, linear, LINEAR_TO * np.exp(GROWTH * (mels - start)))
