"""Which film next? python -m examples.gallery.recommender [FILM ...], numbers of MovieLens, the newest last."""

import sys

from aimass import Client

from examples.gallery import connected

SPACE = (50, 172, 181)  # three of the wars between the stars


def ask(client: Client, films: list[int], top: int = 5) -> list[int]:
    """The numbers of the films that come next, the likeliest first."""
    places = client.member("recommender")["features"][0]["shape"][0]
    history = [0] * (places - len(films)) + films[-places:]
    (answer,) = client.ask("recommender", [history], top=top)["predictions"]
    return [int(found["item"]) + 1 for found in answer["items"]]


if __name__ == "__main__":
    seen = [int(number) for number in sys.argv[1:]] or list(SPACE)
    print(f"after {seen}: {ask(connected(), seen)}")
