"""What looks like this? python -m examples.gallery.visual_search [PICTURE.jpg], clothes light on a dark background."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected
from examples.gallery.fashion_resnet import trousers


def ask(client: Client, picture: Path | None) -> list[tuple[int, str, float]]:
    """Number, kind and likeness of the ten nearest pieces of the training part."""
    (answer,) = client.ask("visual-search", picture or [trousers()])["predictions"]
    found = answer["outputs"]
    return list(zip(found["items"], found["kinds"], found["alike"], strict=True))


if __name__ == "__main__":
    for number, kind, alike in ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"{number:6} {kind:10} {alike:.2f}")
