"""Which sentence is nearest in meaning? python -m examples.gallery.sentence_embedder [TEXT TEXT ...]"""

import sys

import numpy as np
from aimass import Client

from examples.gallery import connected

TEXTS = (
    "How do I get my money back?",
    "Refunds are paid within ten days.",
    "Our shop opens at nine.",
    "The parcel comes with the post.",
)


def ask(client: Client, texts: list[str]) -> list[tuple[str, float]]:
    """All texts but the first, the nearest to the first one first, each with its likeness to it."""
    first, *others = client.predict("sentence-embedder", {"text": np.array(texts, object)})["vectors"]
    likeness = [float(vector @ first) for vector in others]
    return sorted(zip(texts[1:], likeness, strict=True), key=lambda pair: -pair[1])


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TEXTS)
    print(asked[0])
    for text, likeness in ask(connected(), asked):
        print(f"{likeness:5.2f}  {text}")
