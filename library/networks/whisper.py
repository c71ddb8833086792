"""Whisper, the recogniser of speech, in plain torch (Radford et al., 2022); names of layers are those of its weights.

Decoding is one step a token with remembered keys and values, so that a graph can repeat the step (`greedy.py`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.spectra import LogMel

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sizes(NamedTuple):
    """Those of the smallest model of English; sound is 16,000 samples a second, 30 s at a time."""

    width: int = 384
    heads: int = 6
    layers: int = 4
    tokens: int = 51864
    frames: int = 1500
    longest: int = 448
    rate: int = 16_000
    seconds: int = 30


class Heads(nn.Module):
    """What all attention shares: the norm before it, and heads of equal width."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.layer_norm = nn.LayerNorm(sizes.width)

    def split(self, values: Tensor) -> Tensor:
        """[batch, time, width] to [batch, heads, time, width of a head]."""
        batch, time, width = values.shape
        return values.reshape(batch, time, self.heads, width // self.heads).transpose(1, 2)

    def mixed(self, asked: Tensor, turned: Tensor, values: Tensor) -> Tensor:
        """What each place takes from all others, whose keys are turned: [batch, heads, width of a head, time]."""
        chances = (asked @ turned * asked.shape[-1] ** -0.5).softmax(dim=-1)
        found: Tensor = (chances @ values).transpose(1, 2).flatten(2)
        return found


class SelfAttention(Heads):
    """Each place looks at all that is there: of the decoder what was said, of the encoder all of the sound."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.linear_0 = nn.Linear(sizes.width, 3 * sizes.width)
        self.linear_1 = nn.Linear(sizes.width, sizes.width)

    def forward(self, values: Tensor) -> Tensor:
        asked, keys, found = map(self.split, self.linear_0(self.layer_norm(values)).chunk(3, dim=-1))
        changed: Tensor = self.linear_1(self.mixed(asked, keys.transpose(-1, -2), found))
        return values + changed

    def step(self, values: Tensor, keys: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One more place; keys and values of those before it come in and go out with it."""
        asked, *own = map(self.split, self.linear_0(self.layer_norm(values)).chunk(3, dim=-1))
        keys, found = torch.cat([keys, own[0]], dim=2), torch.cat([found, own[1]], dim=2)
        return values + self.linear_1(self.mixed(asked, keys.transpose(-1, -2), found)), keys, found


class CrossAttention(Heads):
    """What was said looks at the sound, whose keys and values are made once."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.linear_0 = nn.Linear(sizes.width, sizes.width)
        self.linear_1 = nn.Linear(sizes.width, 2 * sizes.width)
        self.linear_2 = nn.Linear(sizes.width, sizes.width)

    def remember(self, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, turned, and values of the sound."""
        keys, values = map(self.split, self.linear_1(heard).chunk(2, dim=-1))
        return keys.transpose(-1, -2).contiguous(), values.contiguous()

    def forward(self, values: Tensor, turned: Tensor, found: Tensor) -> Tensor:
        asked = self.split(self.linear_0(self.layer_norm(values)))
        changed: Tensor = self.linear_2(self.mixed(asked, turned, found))
        return values + changed


class FeedForward(nn.Module):
    """Two linear layers beside a way around them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(sizes.width)
        self.linear_0 = nn.Linear(sizes.width, 4 * sizes.width)
        self.linear_1 = nn.Linear(4 * sizes.width, sizes.width)

    def forward(self, values: Tensor) -> Tensor:
        changed: Tensor = self.linear_1(functional.gelu(self.linear_0(self.layer_norm(values))))
        return values + changed


class EncoderLayer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attention = SelfAttention(sizes)
        self.ffn = FeedForward(sizes)

    def forward(self, values: Tensor) -> Tensor:
        changed: Tensor = self.ffn(self.self_attention(values))
        return changed


class DecoderLayer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attention = SelfAttention(sizes)
        self.attention = CrossAttention(sizes)
        self.ffn = FeedForward(sizes)


class Encoder(nn.Module):
    """Mel bands [batch, bands, 2 frames] to [batch, frames, width]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(80, sizes.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, kernel_size=3, stride=2, padding=1)
        self.position_encodings = nn.Embedding(sizes.frames, sizes.width)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, mel: Tensor) -> Tensor:
        values = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        values = values + self.position_encodings.weight
        for layer in self.layers:
            values = layer(values)
        normal: Tensor = self.layer_norm(values)
        return normal


class Decoder(nn.Module):
    """The next token, from the last one and what is remembered."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(sizes.tokens, sizes.width)
        self.position_encodings = nn.Embedding(sizes.longest, sizes.width)
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, token: Tensor, place: Tensor, said: Tensor, heard: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens [batch] at `place` to scores [batch, tokens], and what to remember of all that was said.

        `said` is [2 layers, batch, heads, time, width of a head]: keys, then values, of each layer; `heard` is what
        `Whisper` makes of the sound.
        """
        values = (self.embeddings(token) + self.position_encodings(place))[:, None]
        kept: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            pair = slice(2 * number, 2 * number + 2)
            values, *own = layer.self_attention.step(values, *said[pair].unbind())
            values = layer.ffn(layer.attention(values, *heard[pair]))
            kept += own
        scores = functional.linear(self.layer_norm(values)[:, 0], self.embeddings.weight)
        return scores, torch.stack(kept)


class Whisper(nn.Module):
    """Sound to what decoding needs of it; `decoder` says a token at a time."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.spectrum = LogMel(sizes.rate, sizes.seconds)
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)

    def forward(self, audio: Tensor) -> tuple[Tensor, ...]:
        """Samples [batch, n] to turned keys and values of the sound, of each layer in turn."""
        heard = self.encoder(self.spectrum(audio))
        layers = (layer for layer in self.decoder.layers if isinstance(layer, DecoderLayer))
        return tuple(each for layer in layers for each in layer.attention.remember(heard))

    def nothing_said(self, batch: int) -> Tensor:
        """What `decoder` remembers before the first token."""
        sizes = self.sizes
        return torch.zeros(2 * sizes.layers, batch, sizes.heads, 0, sizes.width // sizes.heads)

    def read(self, variables: "Mapping[str, NDArray[Any]]") -> None:
        """Take the weights from variables with CTranslate2's names; raises where one is missing."""
        own = {name: torch.from_numpy(variables[_foreign(name)].astype("<f4")) for name in self.state_dict()}
        self.load_state_dict(own)


def _foreign(name: str) -> str:
    """The name that a weight has in the file of variables."""
    path = re.sub(r"layers\.(\d+)", r"layer_\1", name)
    for ours, theirs in (
        ("layer_norm.weight", "layer_norm.gamma"),
        ("layer_norm.bias", "layer_norm.beta"),
        ("position_encodings.weight", "position_encodings.encodings"),
    ):
        path = path.replace(ours, theirs)
    return path.replace(".", "/")
