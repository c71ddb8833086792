"""How far may a market move tomorrow? python -m examples.gallery.volatility [BARS.csv]

The file has a header open,high,low,close and a row a day, the oldest first.
"""

import csv
import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected

PRICES = ("open", "high", "low", "close")


def ask(client: Client, path: Path | None) -> float:
    """The deviation of the next day's return in percent, from the last days of a file or the member's own example."""
    example = client.member("volatility")["example"]["inputs"][0]
    days, width = example["shape"][1:]
    bars = [example["data"][start : start + width] for start in range(0, days * width, width)]
    if path:
        with path.open(newline="") as file:
            bars = [[float(row[price]) for price in PRICES] for row in csv.DictReader(file)][-days:]
    (answer,) = client.ask("volatility", [bars])["predictions"]
    return float(answer["outputs"]["volatility"][0])


if __name__ == "__main__":
    print(f"{ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None):.2f}% a day")
