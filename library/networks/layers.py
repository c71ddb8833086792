"""Layers that several models of the library use."""

from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

L = TypeVar("L", bound=nn.Module)
ALIGNMENT: Final = 64


def aligned(array: "NDArray[Any]") -> Tensor:
    """The array as a tensor that begins where torch's own do: elsewhere sums of floats differ in their last bits, and
    equal trainings would make different files.
    """
    tensor = torch.from_numpy(array)
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def only(kind: type[L], module: nn.Module) -> L:
    """The one layer of this kind."""
    (found,) = (layer for layer in module.modules() if type(layer) is kind)
    return found


class Scale(nn.Module):
    """Multiplies by a constant: raw inputs are normalised inside the graph, not by each client."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.factor


class Standardise(nn.Module):
    """Moves each column to mean 0 and deviation 1, as measured once; clients send raw columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))

    def measure(self, rows: Tensor) -> None:
        """Take mean and deviation from these rows; a column that hardly changes keeps deviation 1."""
        deviation, mean = torch.std_mean(rows.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.where(deviation > torch.finfo(torch.float32).tiny, 1.0))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation


class Restore(Standardise):
    """The way back, at the end of a regression: from mean 0 and deviation 1 to the target's own."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows * self.deviation + self.mean


class RandomShift(nn.Module):
    """Moves each image by up to `reach` pixels each way, zeros coming in; in training only."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training or self.reach == 0:
            return images
        count, _, height, width = images.shape
        down, right = torch.randint(2 * self.reach + 1, (2, count, 1))
        rows = (down + torch.arange(height))[:, :, None]
        columns = (right + torch.arange(width))[:, None, :]
        padded = functional.pad(images, [self.reach] * 4)
        return padded[torch.arange(count)[:, None, None], :, rows, columns].movedim(3, 1)


class RandomMirror(nn.Module):
    """Mirrors half of the images, left to right; in training only."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
        return images.flip(-1).where(mirrored, images)


class Residual(nn.Module):
    """Two convolutions beside a way around them (He et al., Deep Residual Learning, 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(images + self.block(images))


class Served(nn.Module):
    """A trained module with the step that makes its raw outputs what a client reads."""

    def __init__(self, module: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.finish = finish

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        finished: torch.Tensor = self.finish(self.module(*inputs))
        return finished


class WordBag(nn.Module):
    """Numbers of words [batch, n], 0 where there is none, to mean and greatest of their vectors [batch, 2 width]."""

    def __init__(self, words: int, width: int, deviation: float = 1.0) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words + 1, width, padding_idx=0)
        with torch.no_grad():
            self.vectors.weight *= deviation

    def forward(self, words: Tensor) -> Tensor:
        there = (words > 0).unsqueeze(-1)
        vectors = self.vectors(words)
        mean = (vectors * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        greatest = vectors.where(there, torch.full_like(vectors, -1e4)).amax(dim=1)
        return torch.cat([mean, greatest.where(there.any(dim=1), torch.zeros_like(greatest))], dim=1)
