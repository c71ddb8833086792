"""What will a household buy next? python -m examples.gallery.next_basket [KIND ...], numbers of kinds, newest last."""

import sys

from aimass import Client

from examples.gallery import connected

USUAL = (1, 2, 5, 1, 3, 5)


def ask(client: Client, bought: list[int], top: int = 5) -> list[int]:
    """The numbers of the kinds of products that come next, the likeliest first."""
    places = client.member("next-basket")["features"][0]["shape"][0]
    history = [0] * (places - len(bought)) + bought[-places:]
    (answer,) = client.ask("next-basket", [history], top=top)["predictions"]
    return [int(found["item"]) + 1 for found in answer["items"]]


if __name__ == "__main__":
    before = [int(number) for number in sys.argv[1:]] or list(USUAL)
    print(f"after {before}: {ask(connected(), before)}")
