"""How alike are two pictures? python -m examples.gallery.image_features [A.jpg B.png], photographs of any size."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from aimass import Client

from examples.gallery import connected


def stripes(*, across: bool) -> Any:
    """A drawing in colours, for those who have no pictures."""
    drawn = np.zeros((3, 64, 96), int)
    drawn[:, :, ::8] = drawn[:, :, 1::8] = np.array([250, 180, 40])[:, None, None]
    return (drawn if across else drawn.transpose(0, 2, 1)).tolist()


def vector(client: Client, picture: Path | Any) -> Any:
    """What a picture shows, as 1280 numbers of length 1."""
    (answer,) = client.ask("image-features", picture if isinstance(picture, Path) else [picture])["predictions"]
    return np.array(answer["outputs"]["vector"])


def ask(client: Client, pictures: list[Path]) -> float:
    """The cosine of their vectors: 1 is the same."""
    one, other = (vector(client, picture) for picture in pictures or (stripes(across=True), stripes(across=False)))
    return float(one @ other)


if __name__ == "__main__":
    print(f"{ask(connected(), [Path(name) for name in sys.argv[1:3]]):.2f}")
