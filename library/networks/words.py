"""Layers that read words by their letters: what they look like instead of a vocabulary, and what stands around them.

Features and windows are those of the embeddings that Honnibal and Montani's spaCy uses (Miranda et al., Multi hash
embeddings in spaCy, 2022).
"""

import numpy as np
import torch
from torch import Tensor, nn

from library.graphs.cuts import LONGEST

PRIME = 2_147_483_647
SIZES = (1 << 14, 1 << 12, 1 << 12, 1 << 11, 1 << 11)
SURE = 30.0
NOTHING, DIGIT, CAPITAL, SMALL, OTHER, MARK = range(6)


class Looks(nn.Module):
    """Letters [..., LONGEST] to numbers of the word, its last three and first three letters, its last two, and its
    shape [..., 5]; each is below the size of SIZES, and small and capital letters differ in the shape alone.
    """

    def __init__(self) -> None:
        super().__init__()
        small, kinds = torch.arange(256), torch.full((256,), MARK)
        small[ord("A") : ord("Z") + 1] += 32
        for kind, ends in {DIGIT: "09", CAPITAL: "AZ", SMALL: "az", OTHER: "\x7f\x7f"}.items():
            kinds[ord(ends[0]) : ord(ends[1]) + 1] = kind
        kinds[0] = NOTHING
        factors = torch.from_numpy(np.random.RandomState(0).randint(1, PRIME, LONGEST))
        self.small: Tensor
        self.kinds: Tensor
        self.factors: Tensor
        for name, table in {"small": small, "kinds": kinds, "factors": factors}.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, letters: Tensor) -> Tensor:
        letters = letters.long()
        small, kinds = self.small[letters], self.kinds[letters]
        length = (letters > 0).sum(dim=-1, keepdim=True)
        looks = (small, _last(small, length, 3), small[..., :3], _last(small, length, 2), _shape(kinds, length))
        return torch.stack([self._hashed(*pair, salt) for salt, pair in enumerate(zip(looks, SIZES, strict=True))], -1)

    def _hashed(self, values: Tensor, size: int, salt: int) -> Tensor:
        sums: Tensor = (values * self.factors[: values.shape[-1]]).sum(dim=-1)
        return (sums + salt) % PRIME % size


def _last(letters: Tensor, length: Tensor, count: int) -> Tensor:
    places = length - count + torch.arange(count)
    found = letters.gather(-1, places.clamp(min=0))
    return found.where(places >= 0, torch.zeros_like(found))


def _shape(kinds: Tensor, length: Tensor) -> Tensor:
    """The kinds of the first three letters, which there are at all and later, and how long the word is."""
    there = [(kinds == kind).any(dim=-1, keepdim=True).long() for kind in (DIGIT, CAPITAL, SMALL, OTHER)]
    later = (kinds[..., 1:] == CAPITAL).any(dim=-1, keepdim=True).long()
    return torch.cat([kinds[..., :3], *there, later, length.clamp(max=6)], dim=-1)


class Window(nn.Module):
    """A word and its neighbours, the greater of two views of them, beside a way around."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.views, self.norm = nn.Conv1d(width, 2 * width, kernel_size=3, padding=1), nn.LayerNorm(width)

    def forward(self, words: Tensor, there: Tensor) -> Tensor:
        first, second = self.views((words * there).transpose(1, 2)).chunk(2, dim=1)
        found: Tensor = words + self.norm(torch.maximum(first, second).transpose(1, 2))
        return found


def _vectors(count: int, width: int) -> nn.Embedding:
    vectors = nn.Embedding(count, width)
    nn.init.normal_(vectors.weight, std=0.1)
    return vectors


class Tagger(nn.Module):
    """Letters of words [batch, n, LONGEST] to a score for each label [batch, n, labels]; where there is no word the
    first label is sure. In training rows end with the longest, whatever room there is.
    """

    def __init__(self, labels: int, width: int, vector: int, windows: int, dropout: float) -> None:
        super().__init__()
        self.looks = Looks()
        self.vectors = nn.ModuleList(_vectors(size, vector) for size in SIZES)
        self.joined = nn.Linear(vector * len(SIZES), width)
        self.windows = nn.ModuleList(Window(width) for _ in range(windows))
        self.dropout, self.scores = nn.Dropout(dropout), nn.Linear(width, labels)
        self.nothing: Tensor
        self.register_buffer("nothing", torch.tensor([SURE, *[0.0] * (labels - 1)]), persistent=False)

    def forward(self, letters: Tensor) -> Tensor:
        if self.training:
            letters = letters[:, : max(1, int((letters[:, :, 0] > 0).sum(dim=1).max()))]
        there = letters[:, :, :1] > 0
        looks = self.looks(letters)
        vectors = [layer(looks[..., place]) for place, layer in enumerate(self.vectors)]
        words = self.dropout(self.joined(torch.cat(vectors, dim=-1)))
        for window in self.windows:
            words = window(words, there)
        scores: Tensor = self.scores(self.dropout(words))
        return scores.where(there, self.nothing)
