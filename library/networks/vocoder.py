"""From frames of speech to samples: a pulse for each period of the voice, noise beside it, filtered band by band.

Dudley's vocoder (Remaking Speech, 1939), and the harmonic-plus-noise models after it, in a Fourier transform of
overlapping windows. It has nothing to learn. What differs little sounds little different, which phases found by
repetition (Griffin, Lim, 1984) do not keep. Pitch is rounded, and then smoothed in whole numbers: differences of it
would add up from period to period.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.spectra import mel_filters, waves
from library.networks.speech_frames import (
    AROUND,
    BANDS,
    CLEARNESS,
    HOP,
    LOUDNESS_STEPS,
    LOWEST_HERTZ,
    MOST,
    PITCH,
    PITCH_STEPS,
    QUIETEST,
    WINDOW,
)
from shared.sound import SPEAKING_RATE

SHARPNESS: Final = 2000.0
VOICE_TO_HERTZ: Final = 4000.0
VOICE_FADES: Final = 1500.0
CLEAR: Final = (0.3, 0.8)
PITCH_ROUNDED: Final = 8
SMOOTH: Final = (1, 2, 3, 4, 3, 2, 1)
NOISE: Final = 257
SEED: Final = 20240501
LEAST: Final = 1e-5
QUIET: Final = 2e-3
"""Between overtones hardly anything is in a narrow band, and what is not to be made loud there are errors of floats."""


class Vocoder(nn.Module):
    """Frames [batch, 82, n], and which of them are spoken [batch, 1, n], to samples [batch, 256 n] from -1 to 1."""

    waves: Tensor
    filters: Tensor
    spread: Tensor
    share: Tensor
    inverse: Tensor
    window: Tensor
    within: Tensor
    smooth: Tensor
    turns: Tensor
    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = torch.from_numpy(mel_filters(SPEAKING_RATE, WINDOW, BANDS))
        noise = np.random.RandomState(SEED).standard_normal((1, HOP * NOISE)).astype("<f4")
        values = {
            "waves": torch.from_numpy(waves(WINDOW)),
            "filters": filters,
            "spread": _spread(filters),
            "share": torch.sigmoid(
                (VOICE_TO_HERTZ - torch.arange(WINDOW // 2 + 1) * SPEAKING_RATE / WINDOW) / VOICE_FADES
            ),
            "inverse": _inverse(),
            "window": torch.from_numpy(waves(WINDOW)[:1]).square(),
            "within": (torch.arange(HOP).double() + 0.5) / HOP,
            "smooth": torch.tensor(SMOOTH).float()[None, None],
            "turns": _turns(),
        }
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("noise", self._whitened(self._spectrum(torch.from_numpy(noise)))[0], persistent=False)

    def forward(self, frames: Tensor, spoken: Tensor) -> Tensor:
        loud = (frames[:, :BANDS].clamp(0, MOST) / LOUDNESS_STEPS + QUIETEST).exp() * spoken
        clear = (frames[:, CLEARNESS, None] / MOST - CLEAR[0]) / (CLEAR[1] - CLEAR[0])
        source = self._source(frames[:, PITCH], clear.clamp(0, 1))
        gain = loud / (self.filters @ _size(source) + QUIET)
        return self._samples(source * _twice(self.spread @ gain)).clamp(-1, 1)

    def _source(self, pitch: Tensor, clear: Tensor) -> Tensor:
        """What the throat and the breath give, as loud in each band."""
        pulses = self._whitened(self._spectrum(self._pulses(pitch)))
        places = torch.arange(pitch.shape[1]) % NOISE
        voice = self.share[:, None] * clear
        return pulses * _twice(voice) + self.noise[:, places] * _twice((1 - voice.square()).sqrt())

    def _pulses(self, pitch: Tensor) -> Tensor:
        """One at the beginning of each period of levels of pitch [batch, n]."""
        rounded = (pitch / PITCH_ROUNDED).round().clamp(0, MOST // PITCH_ROUNDED)
        smooth = functional.conv1d(rounded[:, None], self.smooth, padding=len(SMOOTH) // 2)[:, 0]
        turns = self.turns[smooth.long()]
        places = (turns.cumsum(dim=1) - turns)[:, :, None] + turns[:, :, None] * self.within
        turned = (places - places.floor()).float().flatten(1)
        return (-2 * SHARPNESS * torch.sin(torch.pi * turned).square()).exp()

    def _spectrum(self, samples: Tensor) -> Tensor:
        """Samples [batch, 256 n] to real parts, then imaginary, [batch, 1026, n]."""
        return functional.conv1d(samples[:, None], self.waves, stride=HOP, padding=AROUND)

    def _whitened(self, spectrum: Tensor) -> Tensor:
        return spectrum * _twice(self.spread @ (1 / (self.filters @ _size(spectrum) + QUIET)))

    def _samples(self, spectrum: Tensor) -> Tensor:
        """The way back: windows are added, and divided by how much of the window there is."""
        added = functional.conv_transpose1d(spectrum * self.inverse, self.waves, stride=HOP, padding=AROUND)
        ones = torch.ones_like(spectrum[:1, :1])
        return (added / functional.conv_transpose1d(ones, self.window, stride=HOP, padding=AROUND))[:, 0]


def _size(spectrum: Tensor) -> Tensor:
    real, imaginary = spectrum.chunk(2, dim=1)
    return (real.square() + imaginary.square() + LEAST**2).sqrt()


def _twice(values: Tensor) -> Tensor:
    """For real and for imaginary parts."""
    return torch.cat([values, values], dim=1)


def _spread(filters: Tensor) -> Tensor:
    """From bands to frequencies [513, 80], straight from the middle of a band to that of the next."""
    heights = filters / filters.amax(dim=1, keepdim=True)
    return (heights / heights.sum(dim=0).clamp(min=1e-6)).T.contiguous()


def _inverse() -> Tensor:
    """What sines and cosines [1026, 1] are to be multiplied by, so that they add up to what they were found in."""
    half = torch.full((WINDOW // 2 + 1,), 2 / WINDOW)
    half[[0, -1]] = 1 / WINDOW
    return torch.cat([half, half])[:, None]


def _turns() -> Tensor:
    """How many periods a frame has, by the sum that smoothing makes of its pitch."""
    sums = torch.arange(sum(SMOOTH) * (MOST // PITCH_ROUNDED) + 1).double()
    return LOWEST_HERTZ * 2 ** (sums * PITCH_ROUNDED / sum(SMOOTH) / PITCH_STEPS) * HOP / SPEAKING_RATE
