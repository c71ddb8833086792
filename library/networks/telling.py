"""Which sentences of a text tell most, by where they stand, how they look and what they share with the others."""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from library.networks.layers import Standardise
from library.networks.words import CAPITAL, DIGIT, MARK, SIZES, Looks

WORDS: Final = SIZES[0]
DIRECTIONS: Final = 64
NEVER: Final = -1e4
LEAST_WORDS: Final = 4
FEATURES: Final = 17
ROWS: Final = 16


class Telling(nn.Module):
    """Letters of the words of sentences [batch, s, n, LONGEST] to scores [batch, s]; NEVER for one of too few words.

    Words are weighted by how few sentences have them, and drawn to DIRECTIONS by chance, which keeps likeness.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.looks, self.standardise = Looks(), Standardise(FEATURES)
        random = np.random.RandomState(0).normal(size=(WORDS, DIRECTIONS)) / DIRECTIONS**0.5
        self.rarity: Tensor
        self.directions: Tensor
        self.register_buffer("rarity", torch.ones(WORDS))
        self.register_buffer("directions", torch.from_numpy(random.astype("<f4")))
        self.scores = nn.Sequential(nn.Linear(FEATURES, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(self, letters: Tensor) -> Tensor:
        features, there = self.features(letters)
        scores: Tensor = self.scores(self.standardise(features)).squeeze(-1)
        return scores.where(there, torch.full_like(scores, NEVER))

    @torch.no_grad()
    def measure(self, letters: Tensor) -> None:
        """Take rarity of words, and mean and deviation of features, from these texts."""
        sentences, counts = 0, torch.zeros(WORDS)
        for rows in torch.split(letters, ROWS):
            words, is_word, _ = self._words(rows)
            seen = torch.zeros(*words.shape[:2], WORDS + 1).scatter_(2, words.where(is_word, WORDS), 1.0)
            counts += seen[..., :WORDS].sum(dim=(0, 1))
            sentences += int(is_word.any(dim=-1).sum())
        self.rarity.copy_((sentences / (1 + counts)).log().clamp(min=0))
        found = [features[there] for features, there in map(self.features, torch.split(letters, ROWS))]
        self.standardise.measure(torch.cat(found))

    def features(self, letters: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, s, FEATURES], and whether there is a sentence of LEAST_WORDS."""
        words, is_word, first = self._words(letters)
        count = is_word.sum(dim=-1)
        own = [*_places(count > 0), *self._marks(letters, first, count), *self._likeness(words, is_word, count)]
        return torch.stack(own, dim=-1), count >= LEAST_WORDS

    def _words(self, letters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of words and marks, whether each is a word, and first letters [batch, s, n]."""
        first = letters[..., 0].long()
        kinds = self.looks.kinds[first]
        return self.looks(letters)[..., 0], (kinds > 0) & (kinds < MARK), first

    def _marks(self, letters: Tensor, first: Tensor, count: Tensor) -> list[Tensor]:
        """How long it is, whether it asks or calls, and shares of capitals, of digits and of addresses among words."""
        some, kinds = count.clamp(min=1).float(), self.looks.kinds[first]
        asks, calls = ((first == ord(mark)).any(dim=-1).float() for mark in "?!")
        capitals, digits = ((kinds == kind).sum(dim=-1) / some for kind in (CAPITAL, DIGIT))
        http = torch.tensor([*b"http"], dtype=letters.dtype)
        addresses = (letters[..., :4] == http).all(dim=-1).any(dim=-1).float()
        return [count.float().log1p(), count / 30.0, asks, calls, capitals, digits, addresses]

    def _likeness(self, words: Tensor, is_word: Tensor, count: Tensor) -> list[Tensor]:
        """Of its words to those of the whole text, to the sentence most like it and to all; how rare its words are."""
        weights = self.rarity[words] * is_word
        vectors = functional.normalize((self.directions[words] * weights.unsqueeze(-1)).sum(dim=2), dim=-1)
        others = vectors @ vectors.transpose(1, 2) * (1 - torch.eye(vectors.shape[1]))
        sentences = (count > 0).sum(dim=1, keepdim=True).clamp(min=1)
        whole = vectors.sum(dim=1, keepdim=True) / sentences.unsqueeze(-1)
        middle = (vectors * whole).sum(dim=-1)
        rarity = weights.sum(dim=-1) / count.clamp(min=1)
        return [middle, others.amax(dim=-1), others.sum(dim=-1) / sentences, rarity]


def _places(there: Tensor) -> list[Tensor]:
    """From the first and from the last, as shares and at the ends; of how many."""
    place = torch.arange(there.shape[1]).expand(there.shape).float()
    count = there.sum(dim=1, keepdim=True).clamp(min=1).float()
    left = (count - 1 - place).clamp(min=0)
    ends = [(place == 0).float(), (left == 0).float()]
    return [place / count, left / count, *ends, place.clamp(max=5) / 5, count.log().expand(there.shape)]


class Summary(nn.Module):
    """Letters to numbers of the most telling sentences [batch, count], -1 where there are no more, their scores, which
    are shares of all, and the numbers again, which a back turns into sentences.
    """

    def __init__(self, telling: Telling, count: int) -> None:
        super().__init__()
        self.telling, self.count = telling, count

    def forward(self, letters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = functional.pad(self.telling(letters), (0, self.count), value=NEVER)
        found = scores.softmax(dim=1).topk(self.count, dim=1)
        best = scores.gather(1, found.indices)
        there = best > NEVER
        numbers = found.indices.where(there, torch.full_like(found.indices, -1))
        return numbers, found.values * there, numbers.clone()
