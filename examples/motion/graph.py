"""A model that counts what moves: nothing in it is learnt, and it is served like any other."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from library.graphs.export import trace

FRAMES = 32
MOVED = 0.09
FILLED = 0.3
PERSON = (21, 9)


class Motion(nn.Module):
    """Clips [batch, 32, height, width] to the share of the last frame that moves, and the number of people in it.

    What stands still is the median of the frames; a person is where a window of a person's size is filled with what
    differs from it, more than anywhere around.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        first = torch.arange(height)[:, None] * 1e-4 + torch.arange(width) * 5e-6  # of equals the last is greatest
        self.order: Tensor
        self.register_buffer("order", first)

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        grey = clip.float() / 255
        still = grey.sort(dim=1).values[:, FRAMES // 2]
        moved = ((grey[:, -1] - still).abs() > MOVED).float().unsqueeze(1)
        around = (PERSON[0] // 2, PERSON[1] // 2)
        filled = avg_pool2d(moved, PERSON, 1, around) + self.order
        peaks = (filled == max_pool2d(filled, PERSON, 1, around)) & (filled > FILLED)
        return moved.mean(dim=(1, 2, 3)), peaks.sum(dim=(1, 2, 3))


def write(path: Path, height: int, width: int) -> None:
    """The model as ONNX."""
    clip = torch.zeros(2, FRAMES, height, width, dtype=torch.uint8)
    made = trace(Motion(height, width), {"clip": clip}, ("moving", "people"), {"clip": [0]})
    path.write_bytes(made.SerializeToString(deterministic=True))
