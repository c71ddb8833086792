"""What does the shop have for me? python -m examples.gallery.product_search [WORDS ...]"""

import sys

from aimass import Client

from examples.gallery import connected

ASKED = ("something sweet to drink", "food for my dog", "what do I need for a cold?")
SHOWN = 5


def ask(client: Client, texts: list[str]) -> list[list[tuple[str, float]]]:
    """Names of kinds of products for each text, the best first, and how near each is to it."""
    answers = client.ask("product-search", texts)["predictions"]
    return [[(found["label"], found["score"]) for found in answer["items"]] for answer in answers]


if __name__ == "__main__":
    asked = [" ".join(sys.argv[1:])] if sys.argv[1:] else list(ASKED)
    for text, found in zip(asked, ask(connected(), asked), strict=True):
        print(text)
        for name, score in found[:SHOWN]:
            print(f"  {score:5.2f}  {name}")
