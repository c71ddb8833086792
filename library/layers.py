"""Layers that several models of the library use."""

import torch
from torch import nn


class Scale(nn.Module):
    """Multiplies by a constant: raw inputs are normalised inside the graph, not by each client."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.factor


class Served(nn.Module):
    """A trained module with the step that makes its raw outputs what a client reads."""

    def __init__(self, module: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.finish = finish

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        finished: torch.Tensor = self.finish(self.module(*inputs))
        return finished
