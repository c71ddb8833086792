"""A small voice: letters of sound to frames of speech, all at once, by convolutions (Ren et al., FastSpeech, 2019)."""

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.layers import only
from library.networks.speech_frames import BANDS, WIDTH
from library.networks.vocoder import Vocoder

LETTERS: Final = 256
AT_ONCE: Final = 2
PAUSE: Final = 16
USUAL, LONGEST = 1.3, 4.5
"""Logarithms of lengths in frames."""
WEIGHT_OF_VOICE: Final = 4.0


class Block(nn.Module):
    """A convolution beside a way around it; what the mask [batch, 1, n] leaves out counts as zero."""

    def __init__(self, channels: int, dropout: float, reach: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size=2 * reach + 1, padding=reach)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        found = functional.relu(self.conv(values * mask)).transpose(1, 2)
        changed: Tensor = self.dropout(self.norm(found).transpose(1, 2))
        return values + changed


class Blocks(nn.Module):
    """One block after another."""

    def __init__(self, channels: int, dropout: float, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, dropout) for _ in range(count))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            values = block(values, mask)
        return values * mask


class Levels(nn.Module):
    """The last step: from mean 0 and deviation 1 to the levels of frames, as measured once."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(WIDTH, 1))
        self.register_buffer("deviation", torch.ones(WIDTH, 1))

    def measure(self, frames: Tensor) -> None:
        """Take them from frames [n, 82]."""
        deviation, mean = torch.std_mean(frames.double(), dim=0)
        self.mean.copy_(mean[:, None])
        self.deviation.copy_(deviation.clamp(min=1)[:, None])

    def forward(self, values: Tensor) -> Tensor:
        return values * self.deviation + self.mean


class Speaker(nn.Module):
    """Numbers of letters as `graphs/vits.py` gives them without blanks, how many, and the pace, to samples.

    With what a teacher made of them, lengths in frames [batch, letters] and frames [batch, n, 82], it says how wrong it
    is: errors of its frames by the teacher's lengths, and of the logarithms of lengths [batch, 2].
    """

    def __init__(self, channels: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, channels)
        self.reader = Blocks(channels, dropout, layers - 1)
        self.clock = Blocks(channels, dropout, 2)
        self.length = nn.Conv1d(channels, 1, kernel_size=1)
        self.place = nn.Conv1d(3, channels, kernel_size=1)
        self.fold = nn.Conv1d(AT_ONCE * channels, channels, kernel_size=1)
        self.speaker = Blocks(channels, dropout, layers)
        self.frame = nn.Conv1d(channels, AT_ONCE * WIDTH, kernel_size=1)
        self.levels = Levels()
        self.vocoder = Vocoder()
        for layer in (self.length, self.frame):  # begin with what is usual
            nn.init.zeros_(layer.weight)
        nn.init.constant_(cast(Tensor, self.length.bias), USUAL)
        nn.init.zeros_(cast(Tensor, self.frame.bias))

    def forward(
        self, numbers: Tensor, lengths: Tensor, pace: Tensor, taught: Tensor | None = None, frames: Tensor | None = None
    ) -> Tensor:
        mask = (torch.arange(numbers.shape[1]) < lengths[:, None])[:, None].float()
        sounds: Tensor = self.reader(self.letters(numbers).transpose(1, 2), mask)
        told = self.length(self.clock(sounds.detach(), mask))[:, 0].clamp(max=LONGEST)
        if taught is None or frames is None:
            return self._say(sounds, told.exp() * mask[:, 0] * pace[:, None])
        return self._errors(sounds, told, mask[:, 0], _as_wide(taught, sounds).float(), frames)

    def _say(self, sounds: Tensor, durations: Tensor) -> Tensor:
        ends = durations.cumsum(dim=1).round()
        pairs = cast(int, ((ends.long().max() + PAUSE) // AT_ONCE).item())  # int() would be the example's in a graph
        torch._check(pairs >= AT_ONCE)  # type: ignore[no-untyped-call]
        found, spoken = self._frames(sounds, ends, pairs)
        samples: Tensor = self.vocoder(found, spoken)
        return samples

    def _errors(self, sounds: Tensor, told: Tensor, mask: Tensor, taught: Tensor, frames: Tensor) -> Tensor:
        ends = taught.cumsum(dim=1)
        found, spoken = self._frames(sounds, ends, -(-int(ends.max().item()) // AT_ONCE))
        wrong = self._wrong(found, functional.pad(frames, (0, 0, 0, AT_ONCE))[:, : found.shape[2]])
        of_lengths = (told - taught.clamp(min=1).log()).square() * mask
        return torch.stack([_mean(wrong, spoken[:, 0]), _mean(of_lengths, mask)], dim=1)

    def _wrong(self, found: Tensor, frames: Tensor) -> Tensor:
        """By how many deviations, frame by frame: pitch and clearness, two among 82, weigh more than bands."""
        wrong = (found - frames.transpose(1, 2)).abs() / self.levels.deviation
        return (wrong[:, :BANDS].sum(dim=1) + WEIGHT_OF_VOICE * wrong[:, BANDS:].sum(dim=1)) / WIDTH

    def _frames(self, sounds: Tensor, ends: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
        """Frames [batch, 82, 2 pairs], made two at once, of sounds that end there, and which of them are spoken."""
        begins = functional.pad(ends, (1, 0))[:, :-1]
        times = torch.arange(AT_ONCE * pairs)
        during = (begins[:, :, None] <= times) & (times < ends[:, :, None])
        spoken = (times < ends[:, -1:])[:, None].float()
        values = sounds @ during.float() + self.place(_places(begins, ends, during.float(), times)) * spoken
        folded = self.fold(values.unflatten(2, (pairs, AT_ONCE)).permute(0, 3, 1, 2).flatten(1, 2))
        made = self.frame(self.speaker(folded, spoken[:, :, ::AT_ONCE]))
        apart = made.unflatten(1, (AT_ONCE, WIDTH)).permute(0, 2, 3, 1).flatten(2)
        return self.levels(apart), spoken


def _as_wide(taught: Tensor, sounds: Tensor) -> Tensor:
    """As many columns as there are letters in this batch: a part is as wide as its longest item."""
    return functional.pad(taught, (0, sounds.shape[2]))[:, : sounds.shape[2]]


def _places(begins: Tensor, ends: Tensor, during: Tensor, times: Tensor) -> Tensor:
    """Of each frame [batch, 3, n]: how far its sound is, how long the sound is, and how short."""
    begun, long = (values[:, None] @ during for values in (begins, ends - begins))
    long = long.clamp(min=1)
    return torch.cat([(times - begun + 0.5) / long, long.log(), 1 / long], dim=1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Of each row, of what the mask does not leave out."""
    return (values * mask).sum(dim=1) / mask.sum(dim=1)


def measure(speaker: Speaker, taught: Tensor, frames: Tensor) -> None:
    """Have its last layer take mean and deviation from the frames that a teacher spoke."""
    spoken = torch.arange(frames.shape[1]) < taught.long().sum(dim=1, keepdim=True)
    only(Levels, speaker).measure(frames[spoken])
