"""Where is it from? python -m examples.gallery.topic_classifier [TEXT ...]"""

import sys

from aimass import Client

from examples.gallery import connected

TEXTS = (
    "A thriller without a thrill, saved by its leading lady.",
    "i bought this camera last month and the battery already died.",
    "Congress should pass the bill before the end of the session.",
    "@anonymous haha yes, see you tonight!",
)


def ask(client: Client, texts: list[str]) -> list[tuple[str, float]]:
    """The kind of source of each text, and how likely it is."""
    answers = client.ask("topic-classifier", texts)["predictions"]
    return [(answer["label"], answer["score"]) for answer in answers]


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TEXTS)
    for text, (label, chance) in zip(asked, ask(connected(), asked), strict=True):
        print(f"{label} ({chance:.0%})  {text}")
