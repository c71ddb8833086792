"""Layers that several models of the library use."""

import torch
from torch import nn
from torch.nn import functional


class Scale(nn.Module):
    """Multiplies by a constant: raw inputs are normalised inside the graph, not by each client."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.factor


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


class Served(nn.Module):
    """A trained module with the step that makes its raw outputs what a client reads."""

    def __init__(self, module: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.finish = finish

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        finished: torch.Tensor = self.finish(self.module(*inputs))
        return finished
