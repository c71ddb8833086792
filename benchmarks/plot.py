"""Draws the plot of results, the newest ones unless a file is named; matplotlib has an environment of its own."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import figure
from benchmarks.results import Results, newest
from deploy.embedded.parts import DEFAULT_HOME
from shared.environments import Unavailable, environment, reason

DRAWING = Path(__file__).parent / "drawing"
DRAW_SECONDS = 120
BENCH, RESULTS = "bench", "results"


def plot(results: Path, bench: Path) -> Path:
    """Draw beside the results, in the bench's folder of environments; raises Unavailable."""
    drawn, target = figure(Results.read(results)), results.with_suffix(".svg")
    if not drawn.panels:
        raise Unavailable("nothing was measured that could be drawn")
    python = environment(bench / DRAWING.name, DRAWING / "requirements.txt")
    command = [str(python), "-I", str(DRAWING / "draw.py"), str(target)]
    try:
        subprocess.run(
            command, input=json.dumps(asdict(drawn)).encode(), check=True, capture_output=True, timeout=DRAW_SECONDS
        )
    except subprocess.SubprocessError as error:
        raise Unavailable(f"the plot could not be drawn: {reason(error)}") from error
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, help="a file that a benchmark wrote")
    parser.add_argument("--home", help="the state folder of the stack", type=Path, default=DEFAULT_HOME)
    chosen = parser.parse_args()
    bench = chosen.home.absolute() / BENCH
    results = chosen.results or newest(bench / RESULTS)
    if results is None:
        sys.exit(f"no results lie in {bench / RESULTS}: measure first with ./justw bench")
    try:
        print(plot(results, bench))
    except (Unavailable, ValueError, OSError) as error:
        sys.exit(f"bench-plot: {error}")


if __name__ == "__main__":
    main()
