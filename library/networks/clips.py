"""Layers that read short clips of small grey frames, and a short training for the rival that sees one frame alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.base import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 3


class Clips(nn.Module):
    """Clips [batch, frames, 32, 64], 0 to 255, to logits [batch, classes]."""

    def __init__(self, frames: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 24, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 4 * 8, width),
            nn.ReLU(),
        )
        self.time = nn.Sequential(nn.Conv1d(width, width, REACH, padding=REACH // 2), nn.ReLU(), nn.Flatten())
        self.answer = nn.Sequential(nn.Dropout(dropout), nn.Linear(frames * width, classes))

    def forward(self, clips: Tensor) -> Tensor:
        frames = (clips.flatten(end_dim=1).unsqueeze(1).float() - 100) / 60
        kept = self.frame(frames).unflatten(0, (-1, clips.shape[1])).movedim(1, 2)
        answers: Tensor = self.answer(self.time(kept))
        return answers


def answers_of_trained(
    build: Callable[[], nn.Module],
    config: Config,
    learnt: "NDArray[Any]",
    target: "NDArray[Any]",
    asked: "NDArray[Any]",
) -> "NDArray[Any]":
    """Chances of the classes by a module that is trained here, by seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, inputs, classes = build(), torch.from_numpy(learnt), torch.from_numpy(target)
        optimiser = torch.optim.AdamW(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        for _ in range(config.epochs):
            for batch in torch.split(torch.randperm(len(classes)), config.batch_size):
                optimiser.zero_grad()
                functional.cross_entropy(module(inputs[batch]), classes[batch]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        with torch.no_grad():
            found: NDArray[Any] = module.eval()(torch.from_numpy(asked)).softmax(dim=1).numpy()
    return found
