"""Up or down tomorrow? Nobody knows. python -m examples.gallery.direction [BARS.csv]

The file has a header open,high,low,close and a row a day, the oldest first.
"""

import csv
import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected

PRICES = ("open", "high", "low", "close")


def ask(client: Client, path: Path | None) -> tuple[str, float]:
    """The likelier direction of the next day and how likely it is, from a file or the member's own example."""
    example = client.member("direction")["example"]["inputs"][0]
    days, width = example["shape"][1:]
    bars = [example["data"][start : start + width] for start in range(0, days * width, width)]
    if path:
        with path.open(newline="") as file:
            bars = [[float(row[price]) for price in PRICES] for row in csv.DictReader(file)][-days:]
    (answer,) = client.ask("direction", [bars])["predictions"]
    return answer["label"], answer["score"]


if __name__ == "__main__":
    label, chance = ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"{label} ({chance:.0%})")
