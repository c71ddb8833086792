"""Will a credit turn out bad, and why? python -m examples.gallery.credit_score [Column=number ...]"""

import sys

from aimass import Client

from examples.gallery import connected


def ask(client: Client, given: dict[str, float]) -> tuple[float, list[tuple[str, float]]]:
    """The chance of a bad end, and what each column adds to its log-odds, the weightiest first.

    Columns that are not given are not known.
    """
    columns = client.member("credit-score")["features"][0]["columns"]
    (answer,) = client.ask("credit-score", [dict.fromkeys(columns) | given])["predictions"]
    reasons = zip(columns, answer["outputs"]["contributions"], strict=True)
    return answer["scores"]["bad"], sorted(reasons, key=lambda reason: -abs(reason[1]))


if __name__ == "__main__":
    told = {name: float(value) for name, value in (pair.split("=") for pair in sys.argv[1:])}
    chance, reasons = ask(connected(), told or {"Seniority": 0, "Income": 90, "Amount": 1500, "Age": 22})
    print(f"{chance:.0%} bad", *(f"  {name} {weight:+.2f}" for name, weight in reasons[:5]), sep="\n")
