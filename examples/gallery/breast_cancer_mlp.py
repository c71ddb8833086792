"""Malignant or benign? python -m examples.gallery.breast_cancer_mlp [SAMPLES.csv], a header and 30 measures a row.

A demonstration, not a medical device: no decision about a person may rest on it.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from aimass import Client

from examples.gallery import connected


def rows_of(path: Path, columns: list[str]) -> list[list[float]]:
    """The measures of each sample, in the order of the model's columns."""
    with path.open(newline="") as file:
        return [[float(row[column]) for column in columns] for row in csv.DictReader(file)]


def ask(client: Client, path: Path | None) -> list[str]:
    """A sentence for each sample of a file, or for the member's own example."""
    member = client.member("breast-cancer-mlp")
    rows = rows_of(path, member["features"][0]["columns"]) if path else [member["example"]["inputs"][0]["data"]]
    chances = client.predict("breast-cancer-mlp", {"measures": np.array(rows, "<f4")})["probabilities"]
    return [f"{member['labels'][int(row.argmax())]} ({row.max():.0%})" for row in chances]


if __name__ == "__main__":
    print(*ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None), sep="\n")
