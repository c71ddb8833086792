"""Does it sound good or bad? python -m examples.gallery.sentiment [TEXT ...]"""

import sys

from aimass import Client

from examples.gallery import connected

TEXTS = (
    "A wonderful film, I laughed all evening!",
    "The battery died after a week and nobody answers my letters.",
    "The meeting begins at nine.",
)


def ask(client: Client, texts: list[str]) -> list[tuple[str, float]]:
    """The mood of each text, and how likely it is."""
    answers = client.ask("sentiment", texts)["predictions"]
    return [(answer["label"], answer["score"]) for answer in answers]


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TEXTS)
    for text, (label, chance) in zip(asked, ask(connected(), asked), strict=True):
        print(f"{label} ({chance:.0%})  {text}")
