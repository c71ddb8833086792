"""Which digit is drawn? python -m examples.gallery.digits_cnn [DRAWING.txt], 8 lines of 8 characters, # for ink."""

import sys
from pathlib import Path

import numpy as np
from aimass import Client

from examples.gallery import connected

SEVEN = """
.######.
.....##.
....##..
..#####.
...##...
..##....
..##....
..##....
"""
INK = {"#": 15.0, "+": 8.0}


def ask(client: Client, drawing: str) -> tuple[str, float]:
    """The likeliest digit of a drawing, and how likely it is."""
    rows = [[INK.get(character, 0.0) for character in line.ljust(8)[:8]] for line in drawing.strip("\n").splitlines()]
    image = np.array(rows, "<f4").reshape(1, 1, 8, 8)
    (chances,) = client.predict("digits-cnn", {"image": image})["probabilities"]
    best = int(chances.argmax())
    return client.member("digits-cnn")["labels"][best], float(chances[best])


if __name__ == "__main__":
    drawn = Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else SEVEN
    digit, chance = ask(connected(), drawn)
    print(f"{drawn.strip()}\nis a {digit} ({chance:.0%})")
