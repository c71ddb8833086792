"""Finds products by words, by meaning and by both, on the running stack, and tells which finds more of what it should.

The names of 2,376 kinds of products are the documents, the categories of the test part the questions, and the kinds in
a category what is to be found; sentence-embedder has to serve.

PYTHONPATH=sdk .venv/bin/python -m examples.hybrid_search
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from aimass import Client

from examples.gallery import connected
from library.base import Part
from library.data.products import Products, kinds

INDEX, MODEL = "products", "sentence-embedder"
FOUND: Final = 10
MODES: Final[tuple[Literal["text", "vector", "hybrid"], ...]] = ("text", "vector", "hybrid")


def build(client: Client) -> None:
    """An index of all kinds, each by its number."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kinds.jsonl"
        lines = (json.dumps({"id": str(number), "text": name}) for number, name in enumerate(kinds()))
        path.write_text("\n".join(lines))
        task = client.build_index(INDEX, path, MODEL)
    for state in client.watch(task["id"]):
        print(f"{state['progress']:4.0%}  {state['note']}")


def questions() -> Iterator[tuple[str, set[str]]]:
    """The name of each category, and the numbers of its kinds."""
    items = Products().parts()[Part.TEST]
    for text, numbers in zip(items["text"], items["kinds"], strict=True):
        yield text.decode(), {str(number) for number in numbers if number >= 0}


def recall(client: Client, mode: Literal["text", "vector", "hybrid"]) -> float:
    """The share of a category's kinds that is among the first ten, in the mean over the questions."""
    shares = []
    for text, wanted in questions():
        found = {document["id"] for document in client.search(INDEX, text, limit=FOUND, mode=mode)}
        shares.append(len(found & wanted) / len(wanted))
    return sum(shares) / len(shares)


if __name__ == "__main__":
    with connected() as client:
        build(client)
        for mode in MODES:
            print(f"{mode:8} recall@{FOUND} {recall(client, mode):.3f}")
