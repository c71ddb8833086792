"""Who, what and where does a text speak of? python -m examples.gallery.ner [TEXT ...]"""

import sys

from aimass import Client

from examples.gallery import connected

TEXTS = (
    "Tim Cook of Apple told Reuters in Berlin on Monday that the plant would cost $2 billion.",
    "Ada Lovelace met Charles Babbage in London in June 1833.",
)


def ask(client: Client, texts: list[str]) -> list[list[tuple[str, str]]]:
    """The names in each text, and what they are."""
    answers = client.ask("ner", texts)["predictions"]
    return [[(found["text"], found["label"]) for found in answer["entities"]] for answer in answers]


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TEXTS)
    for text, found in zip(asked, ask(connected(), asked), strict=True):
        print(text)
        for name, kind in found:
            print(f"  {kind:12}  {name}")
