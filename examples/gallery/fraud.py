"""Is a payment genuine? python -m examples.gallery.fraud [PAYMENTS.csv], a header with names of columns."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected


def ask(client: Client, path: Path | None) -> list[tuple[str, float]]:
    """Genuine or fraud of each row of a file, or of the member's own example, and how likely it is."""
    member = client.member("fraud")
    own = [value if isinstance(value, float) else None for value in member["example"]["inputs"][0]["data"]]
    answers = client.ask("fraud", path or [own])["predictions"]
    return [(answer["label"], answer["score"]) for answer in answers]


if __name__ == "__main__":
    for label, chance in ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"{label} ({chance:.0%})")
