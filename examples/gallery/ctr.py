"""Is it clicked? python -m examples.gallery.ctr [IMPRESSIONS.csv], a header with names of columns."""

import sys
from pathlib import Path

from aimass import Client

from examples.gallery import connected


def ask(client: Client, path: Path | None) -> list[tuple[str, float]]:
    """How likely a click is, of each row of a file or of the member's own example."""
    member = client.member("ctr")
    own = [value if isinstance(value, float) else None for value in member["example"]["inputs"][0]["data"]]
    answers = client.ask("ctr", path or [own])["predictions"]
    return [("clicked", answer["scores"]["clicked"]) for answer in answers]


if __name__ == "__main__":
    for label, chance in ask(connected(), Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"{label} ({chance:.2%})")
