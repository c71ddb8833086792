"""Layers of models that read letters: runs of letters by their hashes, as Bojanowski et al. use within words (2017)."""

import torch
from torch import Tensor, nn

from library.networks.layers import WordBag

FACTOR = 1_000_003
DEVIATION = 0.05


class Grams(nn.Module):
    """Numbers of letters [batch, n], 0 for none, to those of runs of these lengths [batch, m], 1 to `buckets`."""

    def __init__(self, lengths: tuple[int, ...], buckets: int) -> None:
        super().__init__()
        self.lengths, self.buckets = lengths, buckets

    def forward(self, letters: Tensor) -> Tensor:
        longest = max(self.lengths)
        padded = nn.functional.pad(letters, (0, longest - 1))
        count, found, runs = letters.shape[1], [], letters
        for length in range(1, longest + 1):
            if length > 1:
                last = padded[:, length - 1 : length - 1 + count]
                hashed = (runs * FACTOR + last * (2 * length + 1)) % self.buckets + 1
                runs = torch.where((runs > 0) & (last > 0), hashed, torch.zeros_like(runs))
            if length in self.lengths:
                found.append(runs)
        return torch.cat(found, dim=1)


class DropNumbers(nn.Module):
    """Leaves out a share of the numbers, each for itself; in training only."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, numbers: Tensor) -> Tensor:
        if not self.training:
            return numbers
        return numbers * (torch.rand(numbers.shape) >= self.share)


class Evidence(nn.Module):
    """Numbers [batch, m] to a logit for each class: naive Bayes as it was counted, which training then refines."""

    def __init__(self, buckets: int, classes: int, smoothing: float = 0.3, scale: float = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.logs = nn.Embedding(buckets + 1, classes, padding_idx=0)
        self.scale = nn.Parameter(torch.tensor(scale))

    def count(self, numbers: Tensor, target: Tensor) -> None:
        """Take the logarithms of the numbers' shares in each class."""
        words, classes = self.logs.weight.shape
        counts = torch.bincount((numbers * classes + target[:, None]).ravel(), minlength=words * classes)
        smoothed = counts.reshape(words, classes)[1:].float() + self.smoothing
        with torch.no_grad():
            logs = (smoothed / smoothed.sum(dim=0)).log()
            self.logs.weight[1:] = logs - logs.mean(dim=1, keepdim=True)
            self.logs.weight[0] = 0

    def forward(self, numbers: Tensor) -> Tensor:
        logits: Tensor = self.logs(numbers).sum(dim=1) * self.scale
        return logits


def gram_classifier(
    lengths: tuple[int, ...], buckets: int, width: int, classes: int, left_out: float, dropout: float
) -> nn.Module:
    """Numbers of letters [batch, n] to a logit for each class [batch, classes]."""
    return nn.Sequential(
        Grams(lengths, buckets),
        DropNumbers(left_out),
        WordBag(buckets, width, DEVIATION),
        nn.Dropout(dropout),
        nn.Linear(2 * width, 2 * width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(2 * width, classes),
    )
