"""Which piece of clothes? python -m examples.gallery.fashion_resnet [PICTURE.png], light on a dark background."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from aimass import Client

from examples.gallery import connected


def trousers() -> Any:
    """A drawing, 28 x 28, for those who have no picture."""
    drawn = np.zeros((1, 28, 28), int)
    drawn[0, 2:6, 8:20] = 200
    drawn[0, 6:27, 8:13] = drawn[0, 6:27, 15:20] = 180
    return drawn.tolist()


def ask(client: Client, picture: Path | None) -> tuple[str, float]:
    """The likeliest kind of clothes, and how likely it is."""
    (answer,) = client.ask("fashion-resnet", picture or [trousers()])["predictions"]
    return answer["label"], answer["score"]


if __name__ == "__main__":
    label, chance = ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"{label} ({chance:.0%})")
